"""The same model in double precision: what errors are measured against.

Every 32-bit float of the graph becomes a 64-bit one, and the `onnx` package's own evaluator (numpy)
runs it: an implementation that no framework shares.

usage: python -m hone.compare.reference MODEL.onnx FEEDS.npz OUTPUTS.npz
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.version_converter import convert_version

from . import arrays

#: Inputs that stay 32-bit floats, by operator: their positions.
SINGLE_INPUTS = {"Resize": (2,), "Upsample": (1,)}
#: Attributes that name an element type.
TYPE_ATTRIBUTES = ("to", "dtype")
#: Older forms of some operators (batch normalisation) are evaluated wrongly: convert them.
OLDEST_OPSET = 15


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        values = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _widen_type(kind: TypeProto) -> None:
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type == TensorProto.FLOAT:
        kind.tensor_type.elem_type = TensorProto.DOUBLE
    elif kind.HasField("sequence_type"):
        _widen_type(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        _widen_type(kind.optional_type.elem_type)


def _widen_attributes(node: NodeProto) -> None:
    for attribute in list(node.attribute):
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        if attribute.HasField("g"):
            _widen_graph(attribute.g)
        if attribute.name in TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.DOUBLE
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            made = numpy_helper.from_array(np.array(values, np.float32).astype(np.float64))
            node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute("value", made))


def _keep_single(node: NodeProto) -> Iterator[NodeProto]:
    """Casts for inputs that the operator wants as 32-bit floats."""
    for at in SINGLE_INPUTS.get(node.op_type, ()):
        if at < len(node.input) and node.input[at]:
            name = f"{node.input[at]}/single/{node.output[0]}"
            yield helper.make_node("Cast", [node.input[at]], [name], to=TensorProto.FLOAT)
            node.input[at] = name


def _widen_nodes(nodes: list[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        _widen_attributes(node)
        yield from _keep_single(node)
        yield node


def _widen_graph(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for values in (graph.input, graph.output, graph.value_info):
        for value in values:
            _widen_type(value.type)
    nodes = list(_widen_nodes(list(graph.node)))
    del graph.node[:]
    graph.node.extend(nodes)


def widen(model: ModelProto) -> ModelProto:
    """In place: every 32-bit float becomes a 64-bit one."""
    _widen_graph(model.graph)
    for function in model.functions:
        nodes = list(_widen_nodes(list(function.node)))
        del function.node[:]
        function.node.extend(nodes)
    return model


def run(path: pathlib.Path, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The model's outputs in double precision."""
    model = onnx.load(path)
    opsets = {o.domain: o.version for o in model.opset_import}
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        model = convert_version(model, OLDEST_OPSET)
    evaluator = ReferenceEvaluator(widen(model))
    wide = {n: v.astype(np.float64) if v.dtype == np.float32 else v for n, v in feeds.items()}
    return [np.asarray(value) for value in evaluator.run(None, wide)]


def main(arguments: Sequence[str]) -> int:
    model, feeds, outputs = map(pathlib.Path, arguments)
    arrays.save(outputs, run(model, arrays.load(feeds)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
