"""Find the first tensor that differs, by making all tensors outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .inputs import Array, Feeds
from .names import last_outputs, line_of, module_of
from .proof import compare, hone_runner, ort_runner

#: gives the outputs of modules, by path, in the order in which they ran
Tracer = Callable[[Feeds], dict[str, Array]]


def expose(model: Any, wanted: list[str]) -> bytes:
    """The model with these tensors as its only outputs."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    _type_outputs(copy)
    return bytes(copy.SerializeToString())


def _type_outputs(model: Any) -> None:
    """Take types from shape inference: ONNX Runtime asks for them."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    known = {v.name: v for v in [*inferred.graph.value_info, *inferred.graph.output]}
    for value in model.graph.output:
        found = known.get(value.name)
        if found is not None and found.type.HasField("tensor_type"):
            value.type.tensor_type.elem_type = found.type.tensor_type.elem_type
    keep = [v for v in model.graph.output if v.type.tensor_type.elem_type]
    del model.graph.output[:]
    model.graph.output.extend(keep)


def _kept(content: bytes) -> list[str]:
    import onnx

    return [v.name for v in onnx.load_from_string(content).graph.output]


def _where(node: Any) -> str:
    path = module_of(node)
    text = f"tensor '{node.output[0]}' of {node.op_type}"
    text += f" in module '{path}'" if path else " in the outermost module"
    line = line_of(node)
    return f"{text} ({line})" if line else text


def first_between_runtimes(model: Any, feeds: Feeds) -> str:
    """The first tensor on which hone differs from ONNX Runtime, in the order of the graph."""
    makers = {out: node for node in model.graph.node for out in node.output if out}
    content = expose(model, list(makers))
    names = _kept(content)
    got, want = hone_runner(content)(feeds), ort_runner(content)(feeds)
    for name, a, b in zip(names, got, want):
        if a is None or b is None:
            continue
        _, problem = compare(np.asarray(a), np.asarray(b))
        if problem:
            return f"{_where(makers[name])}: hone beside ONNX Runtime: {problem}"
    return ""


def first_from_source(model: Any, feeds: Feeds, trace: Tracer) -> str:
    """The first module whose output in ONNX Runtime is not the source framework's."""
    modules = last_outputs(model.graph)
    makers = {out: node for node in model.graph.node for out in node.output if out}
    content = expose(model, list(dict.fromkeys(modules.values())))
    values = dict(zip(_kept(content), ort_runner(content)(feeds)))
    for path, want in trace(feeds).items():
        name = modules.get(path)
        if name not in values:
            continue
        got = np.asarray(values[name])
        if got.shape != want.shape and got.size == want.size:
            continue  # the last node of a module may reorder what the module gives
        _, problem = compare(got, want)
        if problem:
            return f"{_where(makers[name])}, module '{path}': beside the source: {problem}"
    return ""
