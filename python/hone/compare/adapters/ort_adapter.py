"""ONNX Runtime: the ONNX model, on its CPU provider, all optimisations on (its default)."""

from __future__ import annotations

import numpy as np
import onnxruntime

from .base import Adapter, Feeds


class OrtAdapter(Adapter):
    precisions = ("fp32", "int8")
    lacks = "its CPU provider computes in FP32 (or INT8, for quantised models)"

    @classmethod
    def version(cls) -> str:
        return str(onnxruntime.__version__)

    def load(self) -> None:
        if self.job.isa:
            self.note = "has no switch for instruction sets: not limited"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.job.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for symbol, size in self.job.symbols.items():
            options.add_free_dimension_override_by_name(symbol, size)
        self.session = onnxruntime.InferenceSession(
            str(self.model()), options, providers=["CPUExecutionProvider"]
        )
        self.binding = self.session.io_binding()

    def bind(self, feeds: Feeds) -> None:
        for name, value in feeds.items():
            self.binding.bind_cpu_input(name, value)
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name, "cpu")

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> list[np.ndarray]:
        return list(self.binding.copy_outputs_to_cpu())
