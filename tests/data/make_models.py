"""Write the small models that tests read. usage: make_models.py [FOLDER]

tiny_conv.onnx     two convolutions with batch norm, a shape subgraph and a dynamic batch
tiny_conv_changed.onnx   the same with another weight in the second convolution
bad_nodes.onnx     an unknown operator, a shape conflict, a type conflict, a wrong type, a stale
                   declaration, a data-dependent shape
tiny_quantised.onnx   uint8 activations, int8 weights by channel: convolution, pooling, dense layer
tokens.onnx        rows picked from a table of two, as BERT picks types of tokens
root.onnx          square roots: NaN for negative inputs
bad_names.onnx     two undefined values and one that is defined twice
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = [helper.make_opsetid("", 17)]


def weights(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    """Small random weights."""
    return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)


def batch_norm(rng: np.random.Generator, name: str, channels: int) -> list[onnx.TensorProto]:
    """Scale, bias, mean and variance."""
    make = [rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.1, channels)] * 2
    make[3] = rng.uniform(0.5, 1.5, channels)
    parts = ["scale", "bias", "mean", "var"]
    return [
        numpy_helper.from_array(values.astype(np.float32), f"{name}.{part}")
        for part, values in zip(parts, make)
    ]


def block(name: str, source: str, stride: int) -> list[onnx.NodeProto]:
    """Convolution, batch norm, ReLU."""
    norm = [f"{name}.{part}" for part in ("scale", "bias", "mean", "var")]
    return [
        helper.make_node("Conv", [source, f"{name}.w", f"{name}.b"], [f"{name}/conv"],
                         name=f"{name}/Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                         strides=[stride, stride]),
        helper.make_node("BatchNormalization", [f"{name}/conv", *norm], [f"{name}/bn"],
                         name=f"{name}/BatchNorm"),
        helper.make_node("Relu", [f"{name}/bn"], [f"{name}/relu"], name=f"{name}/Relu"),
    ]


def tiny_conv() -> onnx.ModelProto:
    """image [batch, 3, 16, 16] -> probabilities [batch, 10]."""
    rng = np.random.default_rng(1)
    constants = [
        weights(rng, "a.w", 8, 3, 3, 3), weights(rng, "a.b", 8), *batch_norm(rng, "a", 8),
        weights(rng, "b.w", 16, 8, 3, 3), weights(rng, "b.b", 16), *batch_norm(rng, "b", 16),
        weights(rng, "fc.w", 16, 10), weights(rng, "fc.b", 10),
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array([0], np.int64), "axis"),
        numpy_helper.from_array(np.array([-1], np.int64), "rest"),
    ]
    nodes = [
        *block("a", "image", 1),
        *block("b", "a/relu", 2),
        helper.make_node("GlobalAveragePool", ["b/relu"], ["pool"], name="pool"),
        helper.make_node("Shape", ["pool"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "zero"], ["n"], name="gather"),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"], name="unsqueeze"),
        helper.make_node("Concat", ["n1", "rest"], ["to"], name="concat", axis=0),
        helper.make_node("Reshape", ["pool", "to"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["scores/raw"], name="fc"),
        helper.make_node("Softmax", ["scores/raw"], ["scores"], name="softmax"),
    ]
    graph = helper.make_graph(
        nodes, "tiny_conv",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10]),
         helper.make_tensor_value_info("scores/raw", TensorProto.FLOAT, ["batch", 10])],
        constants)
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8, producer_name="hone-tests",
                             producer_version="1")


def tiny_conv_changed() -> onnx.ModelProto:
    """tiny_conv with twice the weights b.w."""
    model = tiny_conv()
    for tensor in model.graph.initializer:
        if tensor.name == "b.w":
            tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), "b.w"))
    return model


def root() -> onnx.ModelProto:
    """NaN where the input is negative."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Sqrt", ["same"], ["y"])],
        "root", [info("x", TensorProto.FLOAT, [8, 8])], [info("y", TensorProto.FLOAT, [8, 8])])
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8)


def tokens() -> onnx.ModelProto:
    """Indices below 2 only."""
    info = helper.make_tensor_value_info
    table = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(2, 4), "table")
    node = helper.make_node("Gather", ["table", "ids"], ["y"], name="types")
    graph = helper.make_graph([node], "tokens", [info("ids", TensorProto.INT64, ["batch", 64])],
                              [info("y", TensorProto.FLOAT, ["batch", 64, 4])], [table])
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8)


def bad_nodes() -> onnx.ModelProto:
    """Every node but two has something wrong with it."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="stale"),
        helper.make_node("Blur", ["x"], ["b"], name="blur", domain="example.test"),
        helper.make_node("Add", ["x", "y"], ["s"], name="sum"),
        helper.make_node("Add", ["x", "i"], ["m"], name="mixed"),
        helper.make_node("Sin", ["i"], ["si"], name="sine"),
        helper.make_node("NonZero", ["x"], ["nz"], name="nonzero"),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "bad_nodes",
        [info("x", TensorProto.FLOAT, [2, 3]), info("y", TensorProto.FLOAT, [2, 4]),
         info("i", TensorProto.INT64, [2, 3])],
        [info(name, TensorProto.FLOAT, None) for name in ("b", "s", "m")]
        + [info("r", TensorProto.FLOAT, [2, 5]), info("si", TensorProto.INT64, None),
           info("nz", TensorProto.INT64, None)])
    opsets = [*OPSET, helper.make_opsetid("example.test", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def bad_names() -> onnx.ModelProto:
    """Names that the reader cannot resolve."""
    nodes = [
        helper.make_node("Add", ["x", "nowhere"], ["a"], name="first"),
        helper.make_node("Mul", ["a", "missing"], ["b"], name="second"),
        helper.make_node("Relu", ["x"], ["a"], name="third"),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "bad_names", [info("x", TensorProto.FLOAT, [2])],
                              [info("b", TensorProto.FLOAT, [2])])
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8)


def tiny_quantised() -> onnx.ModelProto:
    """In QDQ form, as quantisers write it."""
    rng = np.random.default_rng(2)
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    def pair(value: str, scale: float, zero: int) -> str:
        rest = [constant(f"{value}.scale", np.float32(scale)), constant(f"{value}.zero", np.uint8(zero))]
        nodes.append(helper.make_node("QuantizeLinear", [value, *rest], [f"{value}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{value}.q", *rest], [f"{value}.dq"]))
        return f"{value}.dq"

    def stored(name: str, values: np.ndarray, scales: np.ndarray) -> str:
        inputs = [constant(name, values), constant(f"{name}.scale", scales.astype(np.float32))]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], axis=0))
        return f"{name}.dq"

    x, scales = pair("x", 0.03, 120), rng.uniform(0.002, 0.006, 8).astype(np.float32)
    w = stored("w", rng.integers(-127, 128, (8, 3, 3, 3), np.int8), scales)
    b = stored("b", rng.integers(-2000, 2000, 8, np.int32), np.float32(0.03) * scales)
    nodes.append(helper.make_node("Conv", [x, w, b], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], name="conv"))
    nodes.append(helper.make_node("Relu", ["c"], ["r"], name="relu"))
    nodes.append(helper.make_node("GlobalAveragePool", [pair("r", 0.02, 0)], ["p"], name="pool"))
    shape = constant("shape", np.array([0, -1], np.int64))
    nodes.append(helper.make_node("Reshape", [pair("p", 0.005, 0), shape], ["f"], name="flat"))
    w = stored("w2", rng.integers(-127, 128, (5, 8), np.int8), np.full(5, 0.004))
    nodes.append(helper.make_node("Gemm", ["f", w], ["g"], transB=1, name="dense"))
    nodes.append(helper.make_node("Softmax", [pair("g", 0.01, 130)], ["s"], name="softmax"))
    nodes.append(helper.make_node("Identity", [pair("s", 1 / 256, 0)], ["y"]))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "tiny_quantised", [info("x", TensorProto.FLOAT, [1, 3, 12, 12])],
                              [info("y", TensorProto.FLOAT, [1, 5])], constants)
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8)


def main() -> None:
    """Write all of them."""
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    for make in (tiny_conv, tiny_conv_changed, tiny_quantised, root, tokens, bad_nodes, bad_names):
        (folder / f"{make.__name__}.onnx").write_bytes(make().SerializeToString())


if __name__ == "__main__":
    main()
