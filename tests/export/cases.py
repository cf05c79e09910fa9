"""Models that exporters fail on or get wrong, each with its cured twin: docs/export-failures.md."""

from __future__ import annotations

import torch
from torch import nn


class BranchOnValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x * 2
        return -x


class BranchOnValuesCured(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x.sum() > 0, x * 2, -x)


class FixedBatch(nn.Module):
    """The example's batch is written into the code."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 12).softmax(1)


class FixedBatchCured(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], -1).softmax(1)


class FixedLength(nn.Module):
    """A mask for the example's length."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = nn.Buffer(torch.ones(16, 16).tril())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ x.transpose(1, 2)) * self.mask


class FixedLengthCured(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[1]
        return (x @ x.transpose(1, 2)) * torch.ones(n, n).tril()


class FixedImage(nn.Module):
    """A linear layer that knows how many pixels are left of the example's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).flatten(1))


class FixedImageCured(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.conv(x)).flatten(1))


class NumberFromValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = int(x.abs().max()) + 1
        return x[:, :n] * 2


class NumberFromValuesCured(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.abs().max().to(torch.int64) + 1
        return torch.where(torch.arange(x.shape[1]) < n, x * 2, torch.zeros_like(x))


class ThroughNumpy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_numpy(x.detach().numpy().mean(1, keepdims=True))


class ThroughNumpyCured(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.mean(1, keepdim=True)


class NoOnnxForm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_exp(x @ x.transpose(0, 1))


class NoOnnxFormCured(nn.Module):
    """Its series, to the accuracy needed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = x @ x.transpose(0, 1)
        term = result = torch.eye(a.shape[0])
        for i in range(1, 12):
            term = term @ a / i
            result = result + term
        return result


#: cause: model, cured model, example shape, dynamic dims
#: (the newer exporter follows a number from values, and numpy; the older one freezes both)
CASES = {
    "data-dependent-control-flow": (BranchOnValues, BranchOnValuesCured, (3, 4), ""),
    "specialised-dim (batch)": (FixedBatch, FixedBatchCured, (2, 3, 4), "input:0=batch"),
    "specialised-dim (length)": (FixedLength, FixedLengthCured, (2, 16, 8), "input:1=length"),
    "specialised-dim (image)": (
        FixedImage,
        FixedImageCured,
        (2, 3, 16, 16),
        "input:2=height%2,input:3=width%2",
    ),
    "value-as-python-number": (NumberFromValues, NumberFromValuesCured, (3, 4), ""),
    "numpy-in-forward": (ThroughNumpy, ThroughNumpyCured, (3, 4), ""),
    "missing-operator": (NoOnnxForm, NoOnnxFormCured, (3, 3), ""),
}
