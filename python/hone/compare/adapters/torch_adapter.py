"""PyTorch: the exported program (.pt2) beside the model, eager or through torch.compile."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .base import Adapter, Feeds, require


class TorchAdapter(Adapter):
    precisions = ("fp32", "bf16")
    lacks = "INT8 is compared on quantised ONNX models, which PyTorch does not read"

    @classmethod
    def version(cls) -> str:
        return str(torch.__version__)

    def model(self) -> pathlib.Path:
        return require(pathlib.Path(self.job.model).with_suffix(".pt2"))

    def load(self) -> None:
        torch.set_num_threads(self.job.threads)
        torch.set_num_interop_threads(1)
        self.module: Callable[..., Any] = torch.export.load(self.model()).module()

    def bind(self, feeds: Feeds) -> None:
        self.values = [torch.from_numpy(value) for value in feeds.values()]

    def run(self) -> None:
        is_bf16 = self.job.precision == "bf16"
        cast = torch.autocast("cpu", torch.bfloat16) if is_bf16 else contextlib.nullcontext()
        with torch.inference_mode(), cast:
            self.result = self.module(*self.values)

    def outputs(self) -> list[np.ndarray]:
        found = self.result if isinstance(self.result, (list, tuple)) else [self.result]
        return [
            value.float().numpy() if value.is_floating_point() else value.numpy() for value in found
        ]


class TorchCompileAdapter(TorchAdapter):
    def load(self) -> None:
        super().load()
        torch.compiler.set_stance("default")
        self.module = torch.compile(self.module, dynamic=False)
        self.note = "the first run compiles"
