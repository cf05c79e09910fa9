"""If and Loop to TensorFlow Lite: LiteRT and hone give ONNX Runtime's results on what was written."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

Shape = Sequence[int | str | None]
TYPES = {P.FLOAT: np.float32, P.INT64: np.int64, P.BOOL: np.bool_}


def info(name: str, shape: Shape | None, type_: int = P.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, shape)


def const(name: str, value) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name))


def node(op: str, inputs: str, outputs: str, **attributes) -> onnx.NodeProto:
    """Names are separated by blanks; "-" leaves an input out."""
    return helper.make_node(op, inputs.replace("-", "").split(" "), outputs.split(" "), **attributes)


def graph(nodes, inputs, outputs, initializers=()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))


def check(folder: pathlib.Path, g: onnx.GraphProto, *feeds: dict[str, np.ndarray]) -> None:
    model: onnx.ModelProto = helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "m.onnx")
    hone.convert(folder / "m.onnx", folder / "m.tflite", verify=None)
    peer = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    own = hone.InferenceSession(folder / "m.tflite")
    run = interpreter.Interpreter(str(folder / "m.tflite")).get_signature_runner()
    names = [o.name for o in peer.get_outputs()]
    for feed in feeds:
        by_litert = run(**feed)
        by_hone = dict(zip([o.name for o in own.get_outputs()], own.run(None, feed)))
        for name, want in zip(names, peer.run(None, feed)):
            for got in (by_litert[name], by_hone[name]):
                assert got.shape == want.shape and got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- If ----


def test_branches_compute_on_captured_images(tmp_path: pathlib.Path) -> None:
    """Convolutions in front of, within and behind the branches; one branch reads what the other does not."""
    weights = [
        numpy_helper.from_array(floats(1, 6, 3, 3, 3), "w0"),
        numpy_helper.from_array(floats(2, 6, 6, 3, 3), "w1"),
        numpy_helper.from_array(floats(3, 4, 6, 1, 1), "w2"),
    ]
    pads = {"pads": [1, 1, 1, 1]}
    yes = graph([node("Conv", "a w1", "b", **pads), node("Add", "b a", "yes")], [], [info("yes", None)])
    no = graph([node("Mul", "a scale", "no")], [], [info("no", None)])
    g = graph(
        [
            node("Conv", "x w0", "c", **pads),
            node("Relu", "c", "a"),
            node("If", "condition", "d", then_branch=yes, else_branch=no),
            node("Conv", "d w2", "y"),
        ],
        [info("x", (1, 3, 5, 7)), info("scale", (1, 6, 1, 1)), info("condition", (), P.BOOL)],
        [info("y", (1, 4, 5, 7))],
        weights,
    )
    x, scale = floats(4, 1, 3, 5, 7), floats(5, 1, 6, 1, 1)
    check(
        tmp_path,
        g,
        *({"x": x, "scale": scale, "condition": np.array(c)} for c in (True, False, True)),
    )


def test_branch_gives_a_capture_and_a_constant(tmp_path: pathlib.Path) -> None:
    yes = graph(
        [node("Identity", "x", "a"), const("b", np.float32(3))], [], [info("a", None), info("b", None)]
    )
    no = graph(
        [node("Neg", "x", "c"), node("ReduceMax", "x", "d", keepdims=0)],
        [],
        [info("c", None), info("d", None)],
    )
    g = graph(
        [node("If", "condition", "y z", then_branch=yes, else_branch=no)],
        [info("x", (2, 3)), info("condition", (), P.BOOL)],
        [info("y", (2, 3)), info("z", ())],
    )
    check(tmp_path, g, *({"x": floats(c, 2, 3), "condition": np.array(bool(c))} for c in (0, 1)))


def test_branches_of_other_shapes(tmp_path: pathlib.Path) -> None:
    yes = graph([node("Concat", "x x", "a", axis=0)], [], [info("a", (4, 3))])
    no = graph([node("Relu", "x", "b")], [], [info("b", (2, 3))])
    g = graph(
        [node("If", "condition", "i", then_branch=yes, else_branch=no), node("Neg", "i", "y")],
        [info("x", (2, 3)), info("condition", (), P.BOOL)],
        [info("y", (None, 3))],
    )
    check(tmp_path, g, *({"x": floats(c, 2, 3), "condition": np.array(bool(c))} for c in (0, 1)))


def test_nested_if(tmp_path: pathlib.Path) -> None:
    inner_yes = graph([node("Add", "x bias", "iy")], [], [info("iy", None)])
    inner_no = graph([node("Sub", "x bias", "in")], [], [info("in", None)])
    yes = graph(
        [node("If", "second", "y0", then_branch=inner_yes, else_branch=inner_no)], [], [info("y0", None)]
    )
    no = graph([node("Mul", "x bias", "y1")], [], [info("y1", None)])
    g = graph(
        [node("If", "first", "y", then_branch=yes, else_branch=no)],
        [info("x", (2, 3)), info("bias", (3,)), info("first", (), P.BOOL), info("second", (), P.BOOL)],
        [info("y", (2, 3))],
    )
    feeds = [
        {"x": floats(1, 2, 3), "bias": floats(2, 3), "first": np.array(a), "second": np.array(b)}
        for a in (False, True)
        for b in (False, True)
    ]
    check(tmp_path, g, *feeds)


# ---- Loop ----


def body(
    nodes, states: dict[str, Shape], outputs: Sequence[str], scans: Sequence[str] = ()
) -> onnx.GraphProto:
    return graph(
        nodes,
        [info("turn", (), P.INT64), info("go", (), P.BOOL), *(info(s, shape) for s, shape in states.items())],
        [info("go_on", (), P.BOOL), *(info(o, None) for o in (*outputs, *scans))],
    )


@pytest.mark.parametrize("turns", (None, 4), ids=("given", "constant"))
def test_states_and_captures(turns: int | None, tmp_path: pathlib.Path) -> None:
    """The turn's number and a capture count; the number of turns is an input, or known."""
    b = body(
        [
            node("Identity", "go", "go_on"),
            node("Cast", "turn", "number", to=P.FLOAT),
            node("Mul", "s step", "t"),
            node("Add", "t number", "next"),
        ],
        {"s": (2, 3)},
        ["next"],
    )
    limit = [numpy_helper.from_array(np.array(turns, np.int64), "turns")] if turns else []
    given = [] if turns else [info("turns", (), P.INT64)]
    g = graph(
        [node("Loop", "turns - x", "y", body=b)],
        [info("x", (2, 3)), info("step", (2, 3)), *given],
        [info("y", (2, 3))],
        limit,
    )
    feed = {"x": floats(1, 2, 3), "step": floats(2, 2, 3)}
    feeds = [feed] if turns else [{**feed, "turns": np.array(n, np.int64)} for n in (0, 1, 5)]
    check(tmp_path, g, *feeds)


def test_condition_ends_the_loop(tmp_path: pathlib.Path) -> None:
    b = body(
        [
            node("Add", "s s", "next"),
            node("ReduceMax", "next", "most", keepdims=0),
            const("bound", np.float32(100)),
            node("Less", "most bound", "go_on"),
        ],
        {"s": (3,)},
        ["next"],
    )
    g = graph(
        [node("Loop", "- condition x", "y", body=b)],
        [info("x", (3,)), info("condition", (), P.BOOL)],
        [info("y", (3,))],
    )
    x = np.array([1, 2, 3], np.float32)
    check(tmp_path, g, *({"x": x, "condition": np.array(c)} for c in (True, False)))


def test_results_are_collected(tmp_path: pathlib.Path) -> None:
    b = body(
        [
            node("Identity", "go", "go_on"),
            node("Add", "s x", "next"),
            node("ReduceSum", "next", "sum", keepdims=0),
            node("Neg", "next", "negative"),
        ],
        {"s": (2, 3)},
        ["next"],
        ["negative", "sum"],
    )
    g = graph(
        [node("Loop", "turns - x", "y all sums", body=b)],
        [info("x", (2, 3))],
        [info("y", (2, 3)), info("all", (5, 2, 3)), info("sums", (5,))],
        [numpy_helper.from_array(np.array(5, np.int64), "turns")],
    )
    check(tmp_path, g, {"x": floats(1, 2, 3)})


@pytest.mark.parametrize("shape", ((), (2, 3)))
def test_results_of_an_unknown_number_of_turns(shape: tuple[int, ...], tmp_path: pathlib.Path) -> None:
    """The number is an input, and the condition may end the loop before."""
    b = body(
        [
            node("Add", "s s", "next"),
            node("ReduceMax", "next", "most", keepdims=0),
            const("bound", np.float32(20)),
            node("Less", "most bound", "go_on"),
            node("Neg", "s", "scan"),
        ],
        {"s": shape},
        ["next"],
        ["scan"],
    )
    g = graph(
        [node("Loop", "turns - x", "y all", body=b)],
        [info("x", shape), info("turns", (), P.INT64)],
        [info("y", shape), info("all", (None, *shape))],
    )
    x = np.full(shape, 1.5, np.float32)
    check(tmp_path, g, *({"x": x, "turns": np.array(n, np.int64)} for n in (2, 9, 1)))


def test_if_in_a_loop(tmp_path: pathlib.Path) -> None:
    yes = graph([node("Sub", "s x", "a")], [], [info("a", None)])
    no = graph([node("Add", "s s", "b")], [], [info("b", None)])
    b = body(
        [
            node("Identity", "go", "go_on"),
            node("ReduceSum", "s", "sum", keepdims=0),
            const("zero", np.float32(0)),
            node("Greater", "sum zero", "positive"),
            node("If", "positive", "next", then_branch=yes, else_branch=no),
        ],
        {"s": (3,)},
        ["next"],
    )
    g = graph(
        [node("Loop", "turns - x", "y", body=b)],
        [info("x", (3,)), info("turns", (), P.INT64)],
        [info("y", (3,))],
    )
    feeds = [{"x": floats(seed, 3), "turns": np.array(5, np.int64)} for seed in range(3)]
    check(tmp_path, g, *feeds)


def test_a_state_grows(tmp_path: pathlib.Path) -> None:
    b = body(
        [node("Identity", "go", "go_on"), node("Concat", "s x", "next", axis=0)], {"s": (None, 3)}, ["next"]
    )
    g = graph(
        [node("Loop", "turns - x", "y", body=b)],
        [info("x", (1, 3)), info("turns", (), P.INT64)],
        [info("y", (None, 3))],
    )
    feeds = [{"x": floats(1, 1, 3), "turns": np.array(n, np.int64)} for n in (0, 3)]
    check(tmp_path, g, *feeds)


def refused(folder: pathlib.Path, g: onnx.GraphProto) -> list[str]:
    onnx.save(
        helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "m.onnx"
    )
    with pytest.raises(hone.ConvertError) as error:
        hone.convert(folder / "m.onnx", folder / "m.tflite")
    assert not (folder / "m.tflite").exists()
    return [f["reason"] for f in error.value.findings]


def test_what_is_collected_has_a_shape(tmp_path: pathlib.Path) -> None:
    b = body(
        [node("Identity", "go", "go_on"), node("Concat", "s s", "next", axis=0)],
        {"s": (None,)},
        ["next"],
        ["s"],
    )
    g = graph(
        [node("Loop", "turns - x", "y all", body=b)],
        [info("x", (3,)), info("turns", (), P.INT64)],
        [info("y", (None,)), info("all", (None, None))],
    )
    assert refused(tmp_path, g) == ["unknown-shape"]


def test_refusals_in_both_branches_are_listed(tmp_path: pathlib.Path) -> None:
    yes = graph([node("Det", "x", "a")], [], [info("a", None)])
    no = graph(
        [node("Det", "x", "b0"), node("Det", "x", "b1"), node("Add", "b0 b1", "b")], [], [info("b", None)]
    )
    g = graph(
        [node("If", "condition", "y", then_branch=yes, else_branch=no)],
        [info("x", (3, 3)), info("condition", (), P.BOOL)],
        [info("y", ())],
    )
    assert refused(tmp_path, g) == ["no-equivalent"] * 2  # like ones are merged


def test_an_input_made_constant(tmp_path: pathlib.Path) -> None:
    """The branch that is taken stays."""
    yes = graph([node("Relu", "x", "a")], [], [info("a", None)])
    no = graph([node("Det", "x", "b")], [], [info("b", None)])
    g = graph(
        [
            const("wanted", np.int64(16000)),
            node("Equal", "rate wanted", "condition"),
            node("If", "condition", "y", then_branch=yes, else_branch=no),
        ],
        [info("x", (3, 3)), info("rate", (), P.INT64)],
        [info("y", (3, 3))],
    )
    path, out = tmp_path / "m.onnx", tmp_path / "m.tflite"
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    for value in (16000, np.array(16000)):
        hone.convert(path, out, constants={"rate": value}, verify="litert")
        operators = interpreter.Interpreter(str(out))._get_ops_details()
        assert [o["op_name"] for o in operators] == ["RELU"]
        out.unlink()
    for wrong, message in (
        (8000, "obstacles"),
        (np.ones(2), "the model wants int64"),
        ("loud", "cannot open"),
    ):
        with pytest.raises(hone.HoneError, match=message):
            hone.convert(path, out, constants={"rate": wrong})
    with pytest.raises(hone.HoneError, match="one of the inputs"):
        hone.convert(path, out, constants={"speed": 1})


def test_an_input_of_open_dims_is_an_output(tmp_path: pathlib.Path) -> None:
    x = info("x", (None, 2, None))
    g = graph([node("Neg", "x", "y")], [x], [info("y", (None, 2, None)), x])
    path, out = tmp_path / "m.onnx", tmp_path / "m.tflite"
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    hone.convert(path, out, verify=None)
    value = floats(1, 1, 2, 1)
    by_litert = interpreter.Interpreter(str(out)).get_signature_runner()(x=value)
    np.testing.assert_array_equal(by_litert["x"], value)
    np.testing.assert_array_equal(by_litert["y"], -value)
    for got, want in zip(hone.InferenceSession(out).run(None, {"x": value}), (-value, value)):
        np.testing.assert_array_equal(got, want)
