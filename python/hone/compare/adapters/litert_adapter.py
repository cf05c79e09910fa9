"""LiteRT (TensorFlow Lite): the .tflite file beside the model, on its XNNPACK delegate."""

from __future__ import annotations

import importlib.metadata
import pathlib

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ..job import Absent
from .base import Adapter, Feeds, require


class LiteRtAdapter(Adapter):
    precisions = ("fp32", "int8")
    lacks = "its CPU kernels compute in FP32 or INT8"

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("ai-edge-litert")

    def model(self) -> pathlib.Path:
        ending = ".int8.tflite" if self.job.precision == "int8" else ".tflite"
        return require(pathlib.Path(self.job.model).with_suffix(ending))

    def load(self) -> None:
        self.interpreter = Interpreter(model_path=str(self.model()), num_threads=self.job.threads)
        self.interpreter.allocate_tensors()

    def bind(self, feeds: Feeds) -> None:
        details = self.interpreter.get_input_details()
        if len(details) != len(feeds):
            raise Absent(f"the .tflite file has {len(details)} inputs, the model {len(feeds)}")
        for detail, (name, value) in zip(details, feeds.items()):
            fitting = _fit(value, tuple(detail["shape_signature"]))
            if fitting is None or fitting.dtype != detail["dtype"]:
                raise Absent(f"input {name} of the .tflite file has another shape or type")
            self.interpreter.resize_tensor_input(detail["index"], fitting.shape)
        self.interpreter.allocate_tensors()
        for detail, value in zip(details, feeds.values()):
            fitting = _fit(value, tuple(detail["shape_signature"]))
            self.interpreter.set_tensor(detail["index"], np.ascontiguousarray(fitting))

    def run(self) -> None:
        self.interpreter.reset_all_variables()  # every run is a sequence of its own
        self.interpreter.invoke()

    def outputs(self) -> list[np.ndarray]:
        details = self.interpreter.get_output_details()
        return [self.interpreter.get_tensor(detail["index"]) for detail in details]


def _fit(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The value as it is, or channels-last; None when neither has the shape (-1: any size)."""
    for candidate in (value, np.moveaxis(value, 1, -1) if value.ndim > 2 else value):
        if candidate.ndim == len(shape) and all(
            want in (-1, have) for want, have in zip(shape, candidate.shape)
        ):
            return candidate
    return None
