"""TensorRT: not measured so far, because it runs on NVIDIA GPUs and hone on CPUs."""

from __future__ import annotations

import numpy as np
import tensorrt

from ..job import Absent
from .base import Adapter, Feeds


class TensorRtAdapter(Adapter):
    precisions = ("fp32", "bf16", "int8")

    @classmethod
    def version(cls) -> str:
        return str(tensorrt.__version__)

    def check(self) -> None:
        raise Absent("it runs on NVIDIA GPUs, and what is compared here runs on CPUs")

    def load(self) -> None:
        self.check()

    def bind(self, feeds: Feeds) -> None:
        self.check()

    def run(self) -> None:
        self.check()

    def outputs(self) -> list[np.ndarray]:
        self.check()
        return []
