"""OpenVINO: the ONNX model, reshaped to the job's shapes, compiled for latency on the CPU."""

from __future__ import annotations

import os

import numpy as np

os.environ["CI"] = "true"  # no telemetry, whose processes outlive this one

import openvino
from openvino import properties

from .base import Adapter, Feeds

TYPES = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16}


class OpenVinoAdapter(Adapter):
    precisions = ("fp32", "bf16", "int8")

    @classmethod
    def version(cls) -> str:
        return str(openvino.__version__).split("-")[0]

    def load(self) -> None:
        core = openvino.Core()
        model = core.read_model(self.model())
        model.reshape({name: openvino.PartialShape(s) for name, s in self.job.shapes.items()})
        hints = properties.hint
        config = {
            hints.performance_mode: hints.PerformanceMode.LATENCY,
            properties.inference_num_threads: self.job.threads,
            properties.num_streams: 1,
            # For INT8 models it is the precision of what is not quantised.
            hints.inference_precision: TYPES.get(self.job.precision, openvino.Type.f32),
        }
        self.request = core.compile_model(model, "CPU", config).create_infer_request()

    def bind(self, feeds: Feeds) -> None:
        self.kept = [openvino.Tensor(value, shared_memory=True) for value in feeds.values()]
        for name, value in zip(feeds, self.kept):
            self.request.set_tensor(name, value)

    def run(self) -> None:
        self.request.infer(share_outputs=True)

    def outputs(self) -> list[np.ndarray]:
        return [np.array(tensor.data) for tensor in self.request.output_tensors]
