"""What operators do where the official cases do not look: broadcasting, types, maps."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

RNG = np.random.default_rng(11)
LEVELS = pytest.mark.parametrize("level", [0, 2])


def run(node, feeds, *, level=0, n_out=1, inputs=None, outputs=None):
    """The node's outputs."""
    inputs = inputs or [
        helper.make_tensor_value_info(k, numpy_helper.from_array(v).data_type, v.shape)
        for k, v in feeds.items()
    ]
    outputs = outputs or [
        helper.make_value_info(f"y{i}", helper.make_tensor_type_proto(0, None))
        for i in range(n_out)
    ]
    graph = helper.make_graph([node], "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return hone.InferenceSession(made, hone.SessionOptions(optimize=level), threads=1).run(
        None, feeds
    )


def node(op, inputs, n_out=1, domain="", **attributes):
    return helper.make_node(
        op, inputs, [f"y{i}" for i in range(n_out)], "n", domain=domain, **attributes
    )


@LEVELS
@pytest.mark.parametrize(
    ("shape", "axis", "scale"),
    [
        ((2, 3, 4), -1, (4,)),
        ((2, 3, 4), 1, (3, 4)),
        ((2, 3, 4), 1, (3, 1)),
        ((2, 3, 4), 1, (4,)),
        ((2, 3, 4), -1, (2, 1, 4)),
        ((4, 2, 4), -1, (4, 1, 1)),
        ((2, 3, 4), -1, (3, 1)),
        ((2, 3, 4), -1, ()),
        ((2, 3, 4), 0, (1, 3, 4)),
    ],
)
def test_layer_norm_scale_broadcasts(level, shape, axis, scale):
    x = RNG.standard_normal(shape).astype(np.float32)
    s, b = (RNG.standard_normal(scale).astype(np.float32) for _ in range(2))
    axes = tuple(range(axis % len(shape), len(shape)))
    normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    (got,) = run(
        node("LayerNormalization", ["x", "s", "b"], axis=axis),
        {"x": x, "s": s, "b": b},
        level=level,
    )
    np.testing.assert_allclose(got, normal * s + b, 1e-4, 1e-5)


PARAMETERS = [
    ((3, 4), (4, 5), (), ()),
    ((3, 4), (4, 5), (3,), (5,)),
    ((3, 4), (4, 5), (3, 1), (1, 5)),
    ((2, 3, 4), (4, 5), (2, 3, 1), (5,)),
    ((2, 3, 4), (4, 5), (1, 3, 1), (1, 1)),
    ((2, 3, 4), (2, 4, 5), (2, 1, 1), (2, 1, 5)),
    ((2, 1, 3, 4), (1, 6, 4, 5), (2, 1, 3, 1), (1, 6, 1, 5)),
    ((2, 6, 3, 4), (4, 5), (2, 1, 1, 1), (1,)),
    ((3, 4), (6, 4, 5), (3, 1), (6, 1, 5)),
]


def per_row(parameter: np.ndarray) -> np.ndarray:
    return parameter[:, None] if parameter.ndim == 1 else parameter


@LEVELS
@pytest.mark.parametrize(("a", "b", "za", "zb"), PARAMETERS)
def test_matmul_integer_zero_points(level, a, b, za, zb):
    a, za = (RNG.integers(0, 256, s).astype(np.uint8) for s in (a, za))
    b, zb = (RNG.integers(-128, 128, s).astype(np.int8) for s in (b, zb))
    feeds = {"a": a, "b": b, "za": za, "zb": zb}
    (got,) = run(node("MatMulInteger", list(feeds)), feeds, level=level)
    np.testing.assert_array_equal(got, (a.astype(int) - per_row(za)) @ (b.astype(int) - zb))


@LEVELS
@pytest.mark.parametrize(("a", "b", "za", "zb"), PARAMETERS)
def test_qlinear_matmul_parameters(level, a, b, za, zb):
    sa, sb = (RNG.uniform(0.01, 0.1, s).astype(np.float32) for s in (za, zb))
    a, za = (RNG.integers(0, 256, s).astype(np.uint8) for s in (a, za))
    b, zb = (RNG.integers(-128, 128, s).astype(np.int8) for s in (b, zb))
    to, zero = np.float32(1.5), np.uint8(100)
    feeds = {"a": a, "sa": sa, "za": za, "b": b, "sb": sb, "zb": zb, "sy": to, "zy": zero}
    (got,) = run(
        node("QLinearMatMul", list(feeds)),
        {k: np.asarray(v) for k, v in feeds.items()},
        level=level,
    )
    real = ((a.astype(float) - per_row(za)) * per_row(sa)) @ ((b.astype(float) - zb) * sb)
    want = np.clip(np.rint(real / to) + int(zero), 0, 255)
    assert got.dtype == np.uint8 and np.abs(got - want).max() <= 1


def test_zero_points_that_do_not_fit():
    a, b = np.zeros((2, 3, 4), np.uint8), np.zeros((4, 5), np.uint8)
    for zero in [(2,), (3, 3), (2, 2, 1), (1, 2, 3, 1), (2, 3, 4)]:
        with pytest.raises(hone.HoneError, match="no scale or zero point"):
            run(
                node("MatMulInteger", ["a", "b", "z"]),
                {"a": a, "b": b, "z": np.zeros(zero, np.uint8)},
            )


@LEVELS
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
@pytest.mark.parametrize("bias", [None, (), (5,), (3, 1), (3, 5)])
def test_gemm_of_integers(level, dtype, bias):
    a, b = RNG.integers(0, 9, (4, 3)).astype(dtype), RNG.integers(0, 9, (4, 5)).astype(dtype)
    feeds = {"a": a, "b": b}
    if bias is not None:
        feeds["c"] = RNG.integers(0, 9, bias).astype(dtype)
    attributes = {"transA": 1, "alpha": 2.0, "beta": 3.0}
    (got,) = run(node("Gemm", list(feeds), **attributes), feeds, level=level)
    want = 2 * (a.T @ b) + (3 * feeds["c"] if bias is not None else 0)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, want)


@LEVELS
@pytest.mark.parametrize(
    ("dtype", "lowest"), [(np.float32, -np.inf), (np.int8, -128), (np.uint8, 0)]
)
def test_max_pool_of_nothing_but_padding(level, dtype, lowest):
    """A window without an element has the lowest value and the index -1."""
    x = RNG.integers(1, 9, (1, 2, 3, 3)).astype(dtype)
    made = node("MaxPool", ["x"], 2, kernel_shape=[2, 2], dilations=[4, 1], pads=[1, 1, 1, 1])
    y, index = run(made, {"x": x}, level=level, n_out=2)
    np.testing.assert_array_equal(y, np.full((1, 2, 1, 4), lowest, dtype))
    np.testing.assert_array_equal(index, -1)


def test_max_pool_with_partly_padded_windows():
    x = np.array([[[-5, -3, -9]]], np.float32)
    made = node("MaxPool", ["x"], 2, kernel_shape=[2], pads=[1, 1])
    y, index = run(made, {"x": x}, n_out=2)
    np.testing.assert_array_equal(y, [[[-5, -3, -3, -9]]])
    np.testing.assert_array_equal(index, [[[0, 1, 1, 2]]])


def of_map(name, key, value):
    kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(value, None))
    return helper.make_value_info(name, kind)


def test_dict_vectorizer():
    made = node("DictVectorizer", ["x"], domain="ai.onnx.ml", string_vocabulary=["a", "b", "c"])
    outputs = [helper.make_tensor_value_info("y0", P.FLOAT, None)]
    feeds = {"x": {"c": 2.0, "a": 1.5, "z": 9.0}}
    (got,) = run(made, feeds, inputs=[of_map("x", P.STRING, P.FLOAT)], outputs=outputs)
    np.testing.assert_array_equal(got, [[1.5, 0, 2]])
    made = node("DictVectorizer", ["x"], domain="ai.onnx.ml", int64_vocabulary=[5, 3])
    outputs = [helper.make_tensor_value_info("y0", P.STRING, None)]
    (got,) = run(made, {"x": {3: "u"}}, inputs=[of_map("x", P.INT64, P.STRING)], outputs=outputs)
    assert got.tolist() == [["", "u"]]


def test_cast_map():
    floats = [of_map("x", P.INT64, P.FLOAT)]
    feeds = {"x": {4: 1.5, 0: -2.0}}
    (got,) = run(
        node("CastMap", ["x"], domain="ai.onnx.ml", cast_to="TO_FLOAT"), feeds, inputs=floats
    )
    np.testing.assert_array_equal(got, [[-2, 1.5]])
    sparse = node(
        "CastMap", ["x"], domain="ai.onnx.ml", cast_to="TO_INT64", map_form="SPARSE", max_map=6
    )
    (got,) = run(sparse, feeds, inputs=floats)
    np.testing.assert_array_equal(got, [[-2, 0, 0, 0, 1, 0]])
    words = [of_map("x", P.INT64, P.STRING)]
    (got,) = run(
        node("CastMap", ["x"], domain="ai.onnx.ml"), {"x": {1: "2.5", 0: "7"}}, inputs=words
    )
    np.testing.assert_array_equal(got, [[7, 2.5]])
    with pytest.raises(hone.HoneError, match="no number"):
        run(node("CastMap", ["x"], domain="ai.onnx.ml"), {"x": {1: "word"}}, inputs=words)


def test_zip_map_with_strings():
    made = node("ZipMap", ["x"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])
    kind = helper.make_map_type_proto(P.STRING, helper.make_tensor_type_proto(P.FLOAT, None))
    outputs = [helper.make_value_info("y0", helper.make_sequence_type_proto(kind))]
    x = np.array([[0.25, 0.75], [1, 0]], np.float32)
    (maps,) = run(made, {"x": x}, outputs=outputs)
    assert maps == [{"no": 0.25, "yes": 0.75}, {"no": 1, "yes": 0}]
