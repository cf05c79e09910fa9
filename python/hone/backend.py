"""hone as an ONNX backend, for tools that run models through onnx.backend.base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx.backend.base import Backend, BackendRep

from .session import InferenceSession, SessionOptions


class HoneRep(BackendRep):
    """A model made ready to run."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run with inputs by position, or by name in a dict."""
        if not isinstance(inputs, dict):
            values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            names = [i.name for i in self._session.get_inputs()]
            if len(values) > len(names):
                raise ValueError(f"{len(values)} inputs for a model that has {len(names)}")
            inputs = dict(zip(names, values))
        return tuple(self._session.run(None, inputs))


class HoneBackend(Backend):
    """Runs models on the CPU."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """CPU only."""
        return device == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> HoneRep:
        """Build a model. Keyword arguments are fields of SessionOptions."""
        options = SessionOptions(**kwargs)
        options.keep_defaults = True
        return HoneRep(InferenceSession(model.SerializeToString(), options))

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Build a model and run it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node of the newest operator set on arrays."""
        names = [n for n in node.input if n]
        arrays = dict(zip(names, inputs.values() if isinstance(inputs, dict) else inputs))
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [
                onnx.helper.make_tensor_value_info(
                    n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape
                )
                for n, a in arrays.items()
            ],
            [onnx.ValueInfoProto(name=n) for n in node.output if n],
        )
        return cls.run_model(onnx.helper.make_model(graph), arrays, device, **kwargs)


prepare = HoneBackend.prepare
run_model = HoneBackend.run_model
run_node = HoneBackend.run_node
supports_device = HoneBackend.supports_device
