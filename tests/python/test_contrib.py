"""Operators of domain com.microsoft, which have no official cases, against ONNX Runtime.

Each case is one node on seeded inputs. Quantised results may differ by one step where a value lies
between two of them, since kernels round intermediate results differently.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(dtype: Any, *shape: int) -> np.ndarray:
    limits = ml_dtypes.iinfo(dtype)
    return RNG.integers(int(limits.min), int(limits.max) + 1, shape).astype(dtype)


def scalar(value: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(value, dtype)


U8, I8, U16, I16, F32 = np.uint8, np.int8, np.uint16, np.int16, np.float32


@dataclasses.dataclass
class Case:
    op: str
    inputs: list[np.ndarray | None]
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    n_out: int = 1
    constant: int = 99  #: inputs from here on are weights
    steps: int = 0  #: by how many a quantised result may be off
    tolerance: float = 1e-5
    cast: int = 0  #: a type that ONNX Runtime can hand out, for results that it cannot
    note: str = ""


def q(x: np.ndarray, scale: float, zero: int | None) -> list[np.ndarray | None]:
    """A quantised operand: values, scale, zero point."""
    return [x, scalar(scale), None if zero is None else scalar(zero, x.dtype)]


def out(scale: float, zero: int, dtype: Any) -> list[np.ndarray | None]:
    return [scalar(scale), scalar(zero, dtype)]


CONV = [floats(1, 4, 7, 6), floats(6, 2, 3, 3), floats(6)]
QCONV = [*q(whole(U8, 1, 4, 7, 6), 0.02, 120), whole(I8, 6, 4, 3, 3)]
HIDDEN, HEADS, TOKENS = 12, 3, 5
QKV = [whole(U8, 2, TOKENS, 8), whole(I8, 8, 3 * HIDDEN), floats(3 * HIDDEN), scalar(0.02)]

CASES = [
    Case("Gelu", [floats(3, 8)]),
    Case("FastGelu", [floats(3, 8)]),
    Case("FastGelu", [floats(3, 8), floats(8)], note="bias"),
    Case("BiasGelu", [floats(3, 8), floats(8)]),
    Case("QuickGelu", [floats(3, 8)]),
    Case("QuickGelu", [floats(3, 8)], {"alpha": 0.7}, note="alpha"),
    Case("QuantizeLinear", [floats(3, 8), scalar(0.02), scalar(3, U8)]),
    Case("QuantizeLinear", [floats(3, 8), scalar(0.02), scalar(-3, I8)], note="int8"),
    Case("QuantizeLinear", [floats(3, 8), scalar(2e-4), scalar(30000, U16)], note="uint16"),
    Case("QuantizeLinear", [floats(3, 8), scalar(2e-4), scalar(-7, I16)], note="int16"),
    Case(
        "QuantizeLinear",
        [floats(3, 8), scalar(0.3), scalar(2, ml_dtypes.int4)],
        constant=1,
        cast=P.INT8,
        note="int4",
    ),
    Case(
        "QuantizeLinear",
        [floats(3, 8), scalar(0.3), scalar(9, ml_dtypes.uint4)],
        constant=1,
        cast=P.INT8,
        note="uint4",
    ),
    Case(
        "QuantizeLinear",
        [floats(3, 4), np.abs(floats(4)) + 0.01, whole(U8, 4)],
        {"axis": 1},
        note="axis",
    ),
    Case("DequantizeLinear", [whole(U8, 3, 8), scalar(0.02), scalar(3, U8)]),
    Case("DequantizeLinear", [whole(U16, 3, 8), scalar(2e-4), scalar(30000, U16)], note="uint16"),
    Case("DequantizeLinear", [whole(I16, 3, 8), scalar(2e-4), scalar(7, I16)], note="int16"),
    Case("DequantizeLinear", [whole(np.int32, 3, 8), scalar(2e-7)], note="int32"),
    Case(
        "DequantizeLinear",
        [whole(ml_dtypes.int4, 3, 8), scalar(0.3), scalar(-2, ml_dtypes.int4)],
        constant=0,
        note="int4",
    ),
    Case(
        "DequantizeLinear",
        [whole(ml_dtypes.uint4, 3, 8), scalar(0.3), scalar(9, ml_dtypes.uint4)],
        constant=0,
        note="uint4",
    ),
    Case(
        "DequantizeLinear",
        [whole(I8, 3, 4), np.abs(floats(3)), whole(I8, 3)],
        {"axis": 0},
        note="axis",
    ),
    Case(
        "QLinearAdd",
        q(whole(U8, 3, 8), 0.03, 7) + q(whole(U8, 3, 8), 0.01, 200) + out(0.04, 90, U8),
        steps=1,
    ),
    Case(
        "QLinearAdd",
        q(whole(I8, 3, 8), 0.03, 7) + q(whole(I8, 8), 0.01, -20) + out(0.04, -9, I8),
        steps=1,
        note="broadcast",
    ),
    Case(
        "QLinearMul",
        q(whole(U8, 3, 8), 0.03, 7) + q(whole(U8, 3, 8), 0.01, 200) + out(0.02, 90, U8),
        steps=1,
    ),
    Case(
        "QLinearMul",
        q(whole(I8, 2, 1, 4), 0.03, 7) + q(whole(I8, 3, 1), 0.01, -20) + out(0.04, -9, I8),
        steps=1,
        note="broadcast",
    ),
    Case("QLinearSigmoid", q(whole(U8, 3, 8), 0.05, 128) + out(1 / 256, 0, U8), steps=1),
    Case(
        "QLinearSigmoid", q(whole(I8, 3, 8), 0.05, 3) + out(1 / 256, -128, I8), steps=1, note="int8"
    ),
    Case(
        "QLinearLeakyRelu",
        q(whole(U8, 3, 8), 0.05, 128) + out(0.04, 20, U8),
        {"alpha": 0.2},
        steps=1,
    ),
    Case("QLinearLeakyRelu", q(whole(I8, 3, 8), 0.05, 0) + out(0.04, 2, I8), steps=1, note="int8"),
    Case(
        "QLinearSoftmax",
        q(whole(U8, 3, 8), 0.05, 128) + out(1 / 256, 0, U8),
        {"opset": 13, "axis": -1},
        steps=1,
    ),
    Case(
        "QLinearSoftmax",
        q(whole(I8, 2, 3, 4), 0.03, 1) + out(1 / 256, -128, I8),
        {"opset": 11, "axis": 1},
        steps=1,
        note="opset_11",
    ),
    Case(
        "QLinearWhere",
        [
            RNG.integers(0, 2, (3, 4)).astype(bool),
            *q(whole(U8, 3, 4), 0.05, 120),
            *q(whole(U8, 4), 0.03, 7),
            *out(0.04, 90, U8),
        ],
        steps=1,
    ),
    Case(
        "QLinearConv",
        [*QCONV, scalar(0.01), scalar(0, I8), *out(0.1, 128, U8), whole(np.int32, 6) // 2**22],
        {"pads": [1, 1, 1, 1]},
        steps=1,
        constant=1,
    ),
    Case(
        "QLinearConv",
        [
            *q(whole(U8, 1, 7, 6, 4), 0.02, 120),
            whole(I8, 6, 4, 3, 3),
            np.abs(floats(6)) / 50,
            np.zeros(6, I8),
            *out(0.1, 128, U8),
        ],
        {"channels_last": 1, "strides": [2, 1]},
        steps=1,
        constant=1,
        note="channels_last",
    ),
    Case(
        "NhwcMaxPool",
        [whole(U8, 1, 7, 6, 4)],
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    ),
    Case("FusedConv", CONV, {"group": 2, "activation": "Relu"}, constant=1),
    Case(
        "FusedConv",
        CONV,
        {"group": 2, "activation": "LeakyRelu", "activation_params": [0.3], "pads": [1, 1, 1, 1]},
        constant=1,
        note="leaky",
    ),
    Case(
        "FusedConv",
        CONV,
        {"group": 2, "activation": "Clip", "activation_params": [-0.5, 1.5]},
        constant=1,
        note="clip",
    ),
    Case(
        "FusedConv",
        CONV,
        {"group": 2, "activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
        constant=1,
        note="hard_sigmoid",
    ),
    Case(
        "FusedConv",
        [*CONV, floats(1, 6, 5, 4)],
        {"group": 2, "activation": "Relu"},
        constant=1,
        note="sum",
    ),
    Case(
        "FusedGemm",
        [floats(3, 4), floats(5, 4), floats(5)],
        {"transB": 1, "alpha": 0.5, "activation": "Relu"},
    ),
    Case(
        "FusedGemm",
        [floats(3, 4), floats(4, 5)],
        {"activation": "LeakyRelu", "activation_alpha": 0.2},
        note="leaky",
    ),
    Case(
        "FusedGemm",
        [floats(3, 4), floats(4, 5), floats(3, 1)],
        {"beta": 0.3, "activation": "Tanh"},
        note="tanh",
    ),
    Case(
        "QAttention",
        [*QKV, scalar(0.01), None, scalar(120, U8), scalar(3, I8)],
        {"num_heads": HEADS},
        tolerance=1e-3,
    ),
    Case(
        "QAttention",
        [
            *QKV,
            np.abs(floats(3 * HIDDEN)) / 50,
            np.array([3, 5], np.int32),
            scalar(120, U8),
            np.zeros(3 * HIDDEN, I8),
        ],
        {"num_heads": HEADS, "unidirectional": 1},
        tolerance=1e-3,
        note="columns",
    ),
    Case(
        "QAttention",
        [
            *QKV,
            scalar(0.01),
            None,
            scalar(120, U8),
            scalar(3, I8),
            floats(2, 2, HEADS, 4, HIDDEN // HEADS),
        ],
        {"num_heads": HEADS, "unidirectional": 1},
        n_out=2,
        tolerance=1e-3,
        note="past",
    ),
    Case(
        "DynamicQuantizeMatMul",
        [floats(3, 8), whole(I8, 8, 6), scalar(0.02), scalar(2, I8), floats(6)],
        constant=1,
        tolerance=1e-4,
    ),
    Case(
        "MatMulIntegerToFloat",
        [
            whole(U8, 3, 8),
            whole(I8, 8, 6),
            scalar(0.02),
            scalar(0.01),
            scalar(100, U8),
            scalar(2, I8),
        ],
        constant=1,
        tolerance=1e-4,
    ),
    Case(
        "DynamicQuantizeLSTM",
        [
            floats(4, 2, 3),
            whole(I8, 1, 3, 20),
            whole(I8, 1, 5, 20),
            floats(1, 40),
            None,
            None,
            None,
            None,
            np.array([0.005], F32),
            np.zeros(1, I8),
            np.array([0.005], F32),
            np.zeros(1, I8),
        ],
        {"hidden_size": 5},
        n_out=3,
        constant=1,
        tolerance=0.02,
    ),
    Case(
        "DynamicQuantizeLSTM",
        [
            floats(4, 2, 3),
            whole(I8, 2, 3, 20),
            whole(I8, 2, 5, 20),
            None,
            None,
            None,
            None,
            None,
            np.abs(floats(2, 20)) / 200,
            np.zeros((2, 20), I8),
            np.abs(floats(2, 20)) / 200,
            np.zeros((2, 20), I8),
        ],
        {"hidden_size": 5, "direction": "bidirectional"},
        n_out=3,
        constant=1,
        tolerance=0.02,
        note="columns",
    ),
    Case(
        "QEmbedLayerNormalization",
        [
            np.array([[1, 3, 0]], np.int32),
            np.array([[0, 1, 1]], np.int32),
            whole(U8, 6, 8),
            whole(U8, 4, 8),
            whole(U8, 2, 8),
            whole(U8, 8),
            whole(U8, 8),
            None,
        ]
        + [scalar(0.01 * (i + 1)) for i in range(5)]
        + [scalar(100 + i, U8) for i in range(5)],
        n_out=2,
        tolerance=1e-4,
    ),
    Case(
        "MultiHeadAttention",
        [
            floats(2, 1, 8),
            floats(2, 1, 8),
            floats(2, 1, 8),
            None,
            None,
            None,
            floats(2, 2, 6, 4),
            floats(2, 2, 6, 4),
        ],
        {"num_heads": 2},
        n_out=3,
        note="past",
    ),
    Case(
        "MultiHeadAttention",
        [
            floats(2, 1, 8),
            floats(2, 1, 8),
            floats(2, 1, 8),
            None,
            None,
            None,
            floats(2, 2, 6, 4),
            floats(2, 2, 6, 4),
            np.array([3], np.int32),
        ],
        {"num_heads": 2},
        n_out=3,
        note="buffer",
    ),
    Case("ExpandDims", [floats(3, 4), np.array(-1, np.int32)]),
    Case("GatherND", [floats(3, 4), np.array([[0, 1], [2, 3]], np.int64)]),
    Case("Trilu", [floats(4, 5), np.array(1, np.int64)], {"upper": 1}),
    Case("Pad", [floats(3, 4), np.array([1, 0, 0, 2], np.int64), scalar(0.5)], constant=1),
    Case("Range", [np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64)]),
    Case("GridSample", [floats(1, 2, 4, 5), floats(1, 3, 3, 2) / 2], {"mode": "bilinear"}),
    Case("TransposeMatMul", [floats(4, 3), floats(4, 5)], {"transA": 1, "alpha": 0.5}),
]


def model(case: Case) -> tuple[bytes, dict[str, np.ndarray]]:
    names, inputs, weights, feeds = [], [], [], {}
    for i, value in enumerate(case.inputs):
        names.append(f"x{i}" if value is not None else "")
        if value is None:
            continue
        tensor = numpy_helper.from_array(value, names[-1])
        if i >= case.constant:
            weights.append(tensor)
        else:
            info = helper.make_tensor_value_info(names[-1], tensor.data_type, value.shape)
            inputs.append(info)
            feeds[names[-1]] = value
    outputs = [f"y{i}" for i in range(case.n_out)]
    node = helper.make_node(
        case.op, names, outputs, "node", domain="com.microsoft", **case.attributes
    )
    infos = [onnx.ValueInfoProto(name=name) for name in outputs]
    nodes = [node]
    if case.cast:
        node.output[0] = "raw"
        nodes.append(helper.make_node("Cast", ["raw"], ["y0"], to=case.cast))
    graph = helper.make_graph(nodes, "g", inputs, infos, weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(), feeds


def reference(made: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(made, options, providers=["CPUExecutionProvider"]).run(None, feeds)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.op}_{c.note}" if c.note else c.op)
@pytest.mark.parametrize("level", [0, 2])
def test_as_onnx_runtime(case: Case, level: int):
    made, feeds = model(case)
    options = hone.SessionOptions(intra_op_num_threads=1, optimize=level)
    session = hone.InferenceSession(made, options)
    for got, want in zip(session.run(None, feeds), reference(made, feeds), strict=True):
        assert got.shape == want.shape
        if np.issubdtype(want.dtype, np.integer):
            assert got.dtype == want.dtype
            assert np.abs(got.astype(np.int64) - want.astype(np.int64)).max() <= case.steps
        else:
            np.testing.assert_allclose(got, want, rtol=case.tolerance, atol=case.tolerance)


def test_bias_split_gelu():
    case = Case("BiasSplitGelu", [floats(2, 3, 8), floats(8)])
    made, feeds = model(case)
    left, right = np.split(case.inputs[0] + case.inputs[1], 2, axis=-1)
    want = left * right * 0.5 * (1 + np.vectorize(math.erf)(right / math.sqrt(2)))
    np.testing.assert_allclose(hone.InferenceSession(made).run(None, feeds)[0], want, 1e-5, 1e-5)


def test_bias_add():
    case = Case("BiasAdd", [floats(2, 3, 4), floats(4), floats(2, 3, 4)])
    made, feeds = model(case)
    np.testing.assert_allclose(
        hone.InferenceSession(made).run(None, feeds)[0], sum(case.inputs), 1e-6, 1e-6
    )


def test_qlinear_reduce_mean():
    x = whole(U8, 3, 4, 5)
    operands = q(x, 0.05, 128) + out(0.02, 100, U8)
    made, feeds = model(Case("QLinearReduceMean", operands, {"axes": [1, 2], "keepdims": 1}))
    mean = ((x.astype(F32) - 128) * 0.05).mean((1, 2), keepdims=True)
    want = np.clip(np.rint(mean / 0.02) + 100, 0, 255)
    got = hone.InferenceSession(made).run(None, feeds)[0].astype(int)
    assert np.abs(got - want).max() <= 1


def test_zero_points_may_be_absent():
    a, b = whole(I8, 3, 8), whole(I8, 3, 8)
    operands = q(a, 0.03, None) + q(b, 0.01, None) + [scalar(0.05)]
    made, feeds = model(Case("QLinearAdd", operands))
    want = np.clip(np.rint((a * F32(0.03) + b * F32(0.01)) / F32(0.05)), -128, 127)
    got = hone.InferenceSession(made).run(None, feeds)[0]
    assert got.dtype == I8 and np.abs(got - want).max() <= 1


def test_attention_in_a_buffer():
    """The same as with a past of that length; the rest of the buffer stays."""
    x, w, b = floats(2, 3, 8), floats(8, 24), floats(24)
    buffer = floats(2, 2, 2, 7, 4)
    common = {"num_heads": 2, "unidirectional": 1}
    inputs = [x, w, b, None, buffer, None, np.array(2, np.int32)]
    shared = {**common, "past_present_share_buffer": 1}
    made, feeds = model(Case("Attention", inputs, shared, n_out=2))
    y, present = hone.InferenceSession(made).run(None, feeds)
    inputs = [x, w, b, None, np.ascontiguousarray(buffer[:, :, :, :2])]
    made, feeds = model(Case("Attention", inputs, common, n_out=2))
    want, joined = hone.InferenceSession(made).run(None, feeds)
    np.testing.assert_allclose(y, want, 1e-5, 1e-6)
    np.testing.assert_allclose(present[:, :, :, :5], joined, 1e-5, 1e-6)
    np.testing.assert_array_equal(present[:, :, :, 5:], buffer[:, :, :, 5:])
    made, feeds = model(
        Case("Attention", [x, w, b, None, buffer, None, np.array(5, np.int32)], shared, n_out=2)
    )
    with pytest.raises(hone.HoneError, match="no room"):
        hone.InferenceSession(made).run(None, feeds)
