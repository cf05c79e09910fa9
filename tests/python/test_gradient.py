"""ai.onnx.preview.training.Gradient against differences of the function itself, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

RNG = np.random.default_rng(3)
STEP = 1e-6


def model(nodes, xs, y, feeds, *, shapes=None, at=None) -> bytes:
    """The nodes, and the derivatives of y by xs at the inputs `at`."""
    inputs = [
        helper.make_tensor_value_info(k, P.DOUBLE, shapes[k] if shapes else v.shape)
        for k, v in feeds.items()
    ]
    outputs = [
        helper.make_tensor_value_info(n, P.DOUBLE, None) for n in (y, *[f"d_{x}" for x in xs])
    ]
    gradient = helper.make_node(
        "Gradient",
        at or xs,
        [f"d_{x}" for x in xs],
        domain="ai.onnx.preview.training",
        xs=xs,
        y=y,
    )
    graph = helper.make_graph([*nodes, gradient], "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 24), helper.make_opsetid("ai.onnx.preview.training", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString()


def node(op: str, inputs: str, outputs: str = "y", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def ints(name: str, *values: int):
    array = np.array(values, np.int64)
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def number(name: str, value: float):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value)))


def check(nodes, feeds, *, shapes=None) -> None:
    session = hone.InferenceSession(model(nodes, list(feeds), "y", feeds, shapes=shapes), threads=1)
    _, *got = session.run(None, feeds)
    for (name, x), derivative in zip(feeds.items(), got, strict=True):
        want = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            moved = {k: v.copy() for k, v in feeds.items()}
            moved[name][i] += STEP
            above = session.run(["y"], moved)[0].sum()
            moved[name][i] -= 2 * STEP
            want[i] = (above - session.run(["y"], moved)[0].sum()) / (2 * STEP)
        assert derivative.shape == x.shape
        np.testing.assert_allclose(derivative, want, rtol=1e-5, atol=1e-6)


def away_from_kinks(*shape: int) -> np.ndarray:
    """In (0.1, 0.9) or its negative."""
    return RNG.uniform(0.1, 0.9, shape) * RNG.choice([-1, 1], shape)


UNARY = [
    ("Abs", {}),
    ("Acos", {}),
    ("Asin", {}),
    ("Asinh", {}),
    ("Atan", {}),
    ("Atanh", {}),
    ("Cos", {}),
    ("Cosh", {}),
    ("Elu", {"alpha": 0.7}),
    ("Erf", {}),
    ("Exp", {}),
    ("Floor", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.8}),
    ("Identity", {}),
    ("LeakyRelu", {"alpha": 0.3}),
    ("Neg", {}),
    ("Reciprocal", {}),
    ("Relu", {}),
    ("Selu", {}),
    ("Sigmoid", {}),
    ("Sin", {}),
    ("Sinh", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Swish", {"alpha": 1.3}),
    ("Tan", {}),
    ("Tanh", {}),
    ("ThresholdedRelu", {"alpha": 0.05}),
    ("Softmax", {"axis": 0}),
    ("LogSoftmax", {}),
    ("Transpose", {"perm": [1, 0]}),
    ("Flatten", {}),
    ("ReduceSum", {"keepdims": 0}),
    ("ReduceMean", {}),
    ("ReduceMax", {}),
    ("ReduceMin", {"keepdims": 0}),
]


@pytest.mark.parametrize(("op", "attributes"), UNARY, ids=str)
def test_of_one_input(op, attributes):
    # The square keeps derivatives of sums, as of Softmax, from being zero.
    nodes = [node(op, "x", "z", **attributes), node("Sin", "z", "s"), node("Mul", "z s")]
    check(nodes, {"x": away_from_kinks(3, 4)})


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Acosh"])
def test_of_large_input(op):
    check([node(op, "x")], {"x": RNG.uniform(1.1, 3, (3, 4))})


@pytest.mark.parametrize(
    "op", ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "PRelu"]
)
@pytest.mark.parametrize("shape", [(3, 4), (4,), (3, 1), ()], ids=str)
@pytest.mark.parametrize("dynamic", [False, True])
def test_of_two_inputs(op, shape, dynamic):
    a = RNG.uniform(0.2, 2, (3, 4))
    shapes = {"a": ["n", "m"], "b": [f"b{i}" for i in range(len(shape))]} if dynamic else None
    check([node(op, "a b")], {"a": a, "b": RNG.uniform(0.3, 2, shape)}, shapes=shapes)


def test_broadcast_of_the_first():
    check([node("Mul", "a b")], {"a": away_from_kinks(2, 1, 3), "b": away_from_kinks(4, 1)})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 2)),
        ((2, 3, 4), (4, 2)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (4, 2)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((4,), (4,)),
    ],
    ids=str,
)
def test_matmul(a, b):
    nodes = [node("MatMul", "a b", "z"), node("Mul", "z z")]
    check(nodes, {"a": away_from_kinks(*a), "b": away_from_kinks(*b)})


@pytest.mark.parametrize("ta", [0, 1])
@pytest.mark.parametrize("tb", [0, 1])
def test_gemm(ta, tb):
    gemm = node("Gemm", "a b c", "z", transA=ta, transB=tb, alpha=0.5, beta=0.3)
    a, b = away_from_kinks(3, 4), away_from_kinks(4, 2)
    feeds = {"a": a.T.copy() if ta else a, "b": b.T.copy() if tb else b, "c": away_from_kinks(2)}
    check([gemm, node("Mul", "z z")], feeds)


REDUCTIONS = ["Sum", "Mean", "SumSquare", "L1", "L2", "LogSum", "LogSumExp", "Max", "Min"]


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(op, keepdims):
    nodes = [
        ints("axes", 0, -1),
        node(f"Reduce{op}", "x axes", "z", keepdims=keepdims),
        node("Mul", "z z"),
    ]
    check(nodes, {"x": RNG.uniform(0.2, 2, (3, 2, 4))})


MOVES = {
    "Reshape": [ints("s", 4, 3), node("Reshape", "x s", "z")],
    "Squeeze": [ints("s", 0), node("Unsqueeze", "x s", "u"), node("Squeeze", "u s", "z")],
    "Expand": [ints("s", 2, 3, 4), node("Expand", "x s", "z")],
    "Tile": [ints("s", 2, 3), node("Tile", "x s", "z")],
    "Slice": [
        ints("a", 2),
        ints("b", -9),
        ints("c", 0),
        ints("d", -2),
        node("Slice", "x a b c d", "z"),
    ],
    "Gather": [ints("s", 1, 1, 0, -1), node("Gather", "x s", "z", axis=1)],
    "GatherND": [
        ints("t", 2, 2),
        ints("i", 0, 1, 2, 3),
        node("Reshape", "i t", "j"),
        node("GatherND", "x j", "z"),
    ],
    "Concat": [node("Concat", "x x", "z", axis=-1)],
    "Split": [
        node("Split", "x", "p q", axis=1, num_outputs=2),
        node("Mul", "p q", "r"),
        node("Add", "r p", "z"),
    ],
    "Split_one": [node("Split", "x", "z q", axis=1, num_outputs=2)],
    "Clip": [number("lo", -0.5), number("hi", 0.4), node("Clip", "x lo hi", "z")],
    "Cast": [node("Cast", "x", "u", to=P.DOUBLE), node("Dropout", "u", "z")],
    "GlobalAveragePool": [
        ints("s", 1, 3, 2, 2),
        node("Reshape", "x s", "u"),
        node("GlobalAveragePool", "u", "z"),
    ],
    "Where": [
        number("h", 0.0),
        node("Greater", "x h", "c"),
        node("Sin", "x", "u"),
        node("Where", "c u x", "z"),
    ],
    "Cube": [number("h", 3.0), node("Pow", "x h", "z")],
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    check([*MOVES[name], node("Mul", "z z")], {"x": away_from_kinks(3, 4)})


def test_at_other_values():
    """The derivative is taken where the inputs of the node say, not where the model is."""
    nodes = [node("Mul", "x x", "z"), node("Mul", "z x")]
    feeds = {"x": np.array([2.0, 3.0]), "p": np.array([5.0, 7.0])}
    made = model(nodes, ["x"], "y", feeds, at=["p"])
    y, derivative = hone.InferenceSession(made).run(None, feeds)
    np.testing.assert_allclose(y, feeds["x"] ** 3)
    np.testing.assert_allclose(derivative, 3 * feeds["p"] ** 2)


def test_second_derivative():
    nodes = [
        node("Mul", "x x", "z"),
        node("Mul", "z x"),
        helper.make_node(
            "Gradient", ["x"], ["d"], domain="ai.onnx.preview.training", xs=["x"], y="y"
        ),
    ]
    feeds = {"x": np.array([2.0, 3.0])}
    made = model(nodes, ["x"], "d", feeds)
    np.testing.assert_allclose(hone.InferenceSession(made).run(None, feeds)[1], 6 * feeds["x"])


def test_of_an_inner_value():
    nodes = [node("Exp", "x", "h"), node("Mul", "h x")]
    feeds = {"x": np.array([2.0, 3.0])}
    made = model(nodes, ["h", "x"], "y", feeds)
    _, by_h, by_x = hone.InferenceSession(made).run(None, feeds)
    np.testing.assert_allclose(by_h, feeds["x"])
    np.testing.assert_allclose(by_x, np.exp(feeds["x"]))


def test_without_a_path():
    feeds = {"x": np.array([2.0]), "w": np.array([[2.0]])}
    made = model([node("Exp", "x")], ["w"], "y", feeds)
    np.testing.assert_array_equal(hone.InferenceSession(made).run(None, feeds)[1], [[0.0]])


def test_an_operator_without_a_derivative_is_named():
    feeds = {"x": away_from_kinks(3, 3)}
    made = model([node("Det", "x")], ["x"], "y", feeds)
    with pytest.raises(hone.HoneError, match="no derivative is known of Det"):
        hone.InferenceSession(made)
    with pytest.raises(hone.HoneError, match="no value of the graph"):
        hone.InferenceSession(model([node("Exp", "x")], ["q"], "y", feeds, at=["x"]))
