"""Networks written out here: what torchvision, timm and transformers do not have."""

from __future__ import annotations

import itertools

import torch
import torchvision  # noqa: F401  (registers the operator nms)
from torch import nn


def conv_block(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Four levels down and up with skips; 32 channels at the top."""

    def __init__(self, base: int = 32, n_classes: int = 2) -> None:
        super().__init__()
        widths = [base << i for i in range(5)]
        pair = lambda a, b: nn.Sequential(conv_block(a, b), conv_block(b, b))  # noqa: E731
        self.down = nn.ModuleList(pair(a, b) for a, b in zip([3, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(pair(2 * w, w) for w in widths[-2::-1])
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(base, n_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(self.pool(x) if i else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1]):
            x = merge(torch.cat([up(x), skip], 1))
        return self.last(x)


def decode(y: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (x0, y0, x1, y1 in pixels), scores and labels of [..., side * side cells, 5 + classes]."""
    cell = torch.arange(side * side)
    xy = torch.stack([cell % side, cell // side], 1) + torch.sigmoid(y[..., :2])
    half = torch.exp(y[..., 2:4].clamp(-4, 4)) * 2.0  # of a cell: neighbours overlap
    boxes = torch.cat([xy - half, xy + half], -1) * 16
    score, label = (torch.sigmoid(y[..., 4:5]) * torch.softmax(y[..., 5:], -1)).max(-1)
    return boxes, score, label


class Detector(nn.Module):
    """One grid of boxes, decoded, filtered by score and by non-maximum suppression."""

    def __init__(self, n_classes: int = 4) -> None:
        super().__init__()
        widths = [3, 16, 32, 64, 64]
        self.body = nn.Sequential(*(conv_block(a, b, 2) for a, b in itertools.pairwise(widths)))
        self.head = nn.Conv2d(64, 5 + n_classes, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.head(self.body(image))[0].flatten(1).transpose(0, 1)
        boxes, score, label = decode(y, image.shape[-1] // 16)
        kept = torch.ops.torchvision.nms(boxes, score, 0.5)
        return boxes[kept], score[kept], label[kept]


class BatchDetector(Detector):
    """Of any number of pictures, by one suppression: the boxes of each are moved to a place of their own.

    Gives the picture of each box too.
    """

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.head(self.body(image)).flatten(2).transpose(1, 2)
        boxes, score, label = decode(y, image.shape[-1] // 16)
        picture = torch.arange(image.shape[0])[:, None].expand(-1, y.shape[1])
        apart = boxes + picture[..., None] * 4096.0
        kept = torch.ops.torchvision.nms(apart.flatten(0, 1), score.flatten(), 0.5)
        every = boxes.flatten(0, 1), score.flatten(), label.flatten(), picture.flatten()
        return tuple(values[kept] for values in every)


class BiLstm(nn.Module):
    """Two bidirectional LSTM layers over word vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 64)
        self.lstm = nn.LSTM(64, 96, num_layers=2, bidirectional=True, batch_first=True)
        self.tag = nn.Linear(192, 12)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.tag(self.lstm(self.embed(tokens))[0])


class WaveStack(nn.Module):
    """Strided 1-d convolutions over raw sound, group norm, GELU; an attention block on top."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 1
        for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (2, 2)):
            layers += [nn.Conv1d(n_in, 128, kernel, stride, bias=False)]
            layers += [nn.GroupNorm(128, 128)] if n_in == 1 else []
            layers += [nn.GELU()]
            n_in = 128
        self.features = nn.Sequential(*layers)
        self.position = nn.Conv1d(128, 128, 16, padding=8, groups=8)
        self.norm = nn.LayerNorm(128)
        self.qkv = nn.Linear(128, 384)
        self.mix = nn.Linear(128, 128)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = self.features(sound)
        x = x + nn.functional.gelu(self.position(x)[..., :-1])
        x = x.transpose(1, 2)
        heads = (
            part.reshape(x.shape[0], -1, 4, 32).transpose(1, 2)
            for part in self.qkv(self.norm(x)).chunk(3, 2)
        )
        y = nn.functional.scaled_dot_product_attention(*heads)
        return x + self.mix(y.transpose(1, 2).flatten(2))
