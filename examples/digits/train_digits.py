"""Train the digit classifier of the demo and export it, unfused, as digits.onnx.

Needs PyTorch. The digits are IDX files (HONE_SHARED names the folder that has data/mnist).
The first 7,000 are for training, the last 1,000 for testing; 200 of the latter are written to
digits.idx for the demo:  "HONEDIGS", count (uint32), then label (uint8) and 28x28 pixels each.

usage: train_digits.py [--epochs N]
"""

from __future__ import annotations

import argparse
import gzip
import os
import pathlib
import struct

import numpy as np
import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("HONE_SHARED", HERE.parents[2] / "shared"))
N_TEST = 1000
N_DEMO = 200


def read_idx(path: pathlib.Path) -> np.ndarray:
    with gzip.open(path, "rb") as file:
        data = file.read()
    rank = data[3]
    dims = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(dims)


class Digits(nn.Module):
    """Three blocks of convolution, batch norm and ReLU; a residual one; a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.block(1, 16)
        self.second = self.block(16, 32)
        self.third = self.block(32, 32)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.2)
        self.classify = nn.Linear(32 * 7 * 7, 10)

    @staticmethod
    def block(n_in: int, n_out: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.first(image / 255.0))
        x = self.pool(self.second(x))
        x = self.third(x) + x
        return torch.softmax(self.classify(self.drop(x.flatten(1))), dim=1)


def train(model: Digits, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for batch in torch.randperm(len(images)).split(64):
            shift = tuple(torch.randint(-2, 3, (2,)).tolist())
            x = torch.roll(images[batch], shift, (2, 3))
            loss = nn.functional.nll_loss(torch.log(model(x) + 1e-9), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    images = read_idx(SHARED / "data/mnist/digits-8000-images-idx3-ubyte.gz")
    labels = read_idx(SHARED / "data/mnist/digits-8000-labels-idx1-ubyte.gz")
    x = torch.from_numpy(images.astype(np.float32))[:, None]
    y = torch.from_numpy(labels.astype(np.int64))
    model = Digits()
    train(model, x[:-N_TEST], y[:-N_TEST], epochs)
    model.eval()
    with torch.no_grad():
        right = (model(x[-N_TEST:]).argmax(1) == y[-N_TEST:]).float().mean().item()
    print(f"accuracy on {N_TEST} digits that it has not seen: {100 * right:.1f} %")
    torch.onnx.export(
        model,
        (x[:1],),
        str(HERE / "digits.onnx"),
        input_names=["image"],
        output_names=["probability"],
        dynamic_axes={"image": {0: "batch"}, "probability": {0: "batch"}},
        opset_version=17,
        dynamo=False,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # keeps batch normalisation as it is
    )
    with open(HERE / "digits.idx", "wb") as file:
        file.write(b"HONEDIGS" + struct.pack("<I", N_DEMO))
        for image, label in zip(images[-N_DEMO:], labels[-N_DEMO:], strict=True):
            file.write(bytes([label]) + image.tobytes())


if __name__ == "__main__":
    main()
