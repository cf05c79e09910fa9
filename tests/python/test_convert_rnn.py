"""LSTM and GRU layers to TensorFlow Lite: LiteRT and hone give ONNX Runtime's results on the file."""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

IN, UNITS, BATCH = 3, 5, 2
GATES = {"GRU": 3, "LSTM": 4}
#: outputs, and the inputs for the states before the first step
OUTPUTS = {"GRU": ["y", "last"], "LSTM": ["y", "last", "cell"]}
STATES = {"GRU": ["h"], "LSTM": ["h", "c"]}


def layer(
    op: str,
    time: int | str,
    directions: int,
    has_bias: bool = True,
    has_state: bool = False,
    outputs: list[str] | None = None,
    **attributes,
) -> bytes:
    rng = np.random.default_rng(7)
    gates = GATES[op] * UNITS
    shapes = {"w": (directions, gates, IN), "r": (directions, gates, UNITS)}
    if has_bias:
        shapes["b"] = (directions, 2 * gates)
    weights = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32) * np.float32(0.5), name)
        for name, s in shapes.items()
    ]
    order = (1, 0) if attributes.get("layout") else (0, 1)
    given = {"x": (*(np.array([time, BATCH], object)[list(order)]), IN)}
    for name in STATES[op] if has_state else ():
        given[name] = (*np.array([directions, BATCH])[list(order)].tolist(), UNITS)
    names = ["x", "w", "r", "b" if has_bias else "", "", *(STATES[op] if has_state else ())]
    made = {name: [None] * (4 if name == "y" else 3) for name in (outputs or OUTPUTS[op])}
    all_outputs = [name if name in made else "" for name in OUTPUTS[op]]
    graph = helper.make_graph(
        [helper.make_node(op, names, all_outputs, hidden_size=UNITS, **attributes)],
        "g",
        [helper.make_tensor_value_info(name, P.FLOAT, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info(name, P.FLOAT, shape) for name, shape in made.items()],
        weights,
    )
    opsets = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    bytes_: bytes = model.SerializeToString()
    return bytes_


def feeds_of(op: str, time: int, directions: int, has_state: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    feeds = {"x": rng.standard_normal((time, BATCH, IN)).astype(np.float32)}
    for name in STATES[op] if has_state else ():
        feeds[name] = rng.standard_normal((directions, BATCH, UNITS)).astype(np.float32)
    return feeds


def by_onnx_runtime(bytes_: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(bytes_, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def check(folder: pathlib.Path, bytes_: bytes, feeds: dict, wanted: dict[str, np.ndarray]) -> list[str]:
    """The operators that were written; run twice, for no state may be left behind."""
    (folder / "m.onnx").write_bytes(bytes_)
    hone.convert(folder / "m.onnx", folder / "m.tflite", verify=None)
    peer = interpreter.Interpreter(str(folder / "m.tflite"))
    run = peer.get_signature_runner()
    own = hone.InferenceSession(folder / "m.tflite")
    for _ in range(2):
        by_litert = run(**feeds)
        by_hone = dict(zip([o.name for o in own.get_outputs()], own.run(None, feeds)))
        for name, want in wanted.items():
            np.testing.assert_allclose(by_litert[name], want, rtol=0, atol=1e-6)
            np.testing.assert_allclose(by_hone[name], want, rtol=0, atol=1e-6)
    return [o["op_name"] for o in peer._get_ops_details()]


@pytest.mark.parametrize("direction", ("forward", "reverse", "bidirectional"))
@pytest.mark.parametrize("reset_last", (0, 1))
@pytest.mark.parametrize("has_bias", (False, True))
@pytest.mark.parametrize("has_state", (False, True))
def test_gru(
    direction: str, reset_last: int, has_bias: bool, has_state: bool, tmp_path: pathlib.Path
) -> None:
    directions = 2 if direction == "bidirectional" else 1
    options = {"direction": direction, "linear_before_reset": reset_last}
    bytes_ = layer("GRU", 6, directions, has_bias, has_state, **options)
    feeds = feeds_of("GRU", 6, directions, has_state)
    check(tmp_path, bytes_, feeds, by_onnx_runtime(bytes_, feeds))


@pytest.mark.parametrize("direction", ("forward", "reverse", "bidirectional"))
@pytest.mark.parametrize("has_bias", (False, True))
@pytest.mark.parametrize("has_state", (False, True))
@pytest.mark.parametrize("time", (1, 6))
def test_lstm_steps(
    direction: str, has_bias: bool, has_state: bool, time: int, tmp_path: pathlib.Path
) -> None:
    """With states given or asked for, the operator of the runtime will not do."""
    directions = 2 if direction == "bidirectional" else 1
    bytes_ = layer("LSTM", time, directions, has_bias, has_state, direction=direction)
    feeds = feeds_of("LSTM", time, directions, has_state)
    operators = check(tmp_path, bytes_, feeds, by_onnx_runtime(bytes_, feeds))
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in operators


def test_one_step_keeps_no_state(tmp_path: pathlib.Path) -> None:
    bytes_ = layer("LSTM", 1, 1, outputs=["y", "last"])
    feeds = feeds_of("LSTM", 1, 1, False)
    operators = check(tmp_path, bytes_, feeds, by_onnx_runtime(bytes_, feeds))
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in operators


@pytest.mark.parametrize("layout", (0, 1))
def test_the_operator_where_it_will_do(layout: int, tmp_path: pathlib.Path) -> None:
    options = {"direction": "bidirectional", "layout": layout}
    (tmp_path / "m.onnx").write_bytes(layer("LSTM", 6, 2, outputs=["y", "last"], **options))
    report = hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite", verify="litert")
    operators = interpreter.Interpreter(str(tmp_path / "m.tflite"))._get_ops_details()
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in [o["op_name"] for o in operators]
    assert [f["reason"] for f in report["findings"]] == ["state"]


@pytest.mark.parametrize("has_state", (False, True))
@pytest.mark.parametrize("direction", ("forward", "bidirectional"))
@pytest.mark.parametrize("op", ("GRU", "LSTM"))
def test_batch_first(op: str, direction: str, has_state: bool, tmp_path: pathlib.Path) -> None:
    """ONNX Runtime has layout 0 only."""
    directions = 2 if direction == "bidirectional" else 1
    feeds = feeds_of(op, 6, directions, has_state)
    wanted = by_onnx_runtime(layer(op, 6, directions, True, has_state, direction=direction), feeds)
    bytes_ = layer(op, 6, directions, True, has_state, direction=direction, layout=1)
    swapped = {name: np.ascontiguousarray(v.swapaxes(0, 1)) for name, v in feeds.items()}
    moved = {n: v.transpose(2, 0, 1, 3) if n == "y" else v.swapaxes(0, 1) for n, v in wanted.items()}
    check(tmp_path, bytes_, swapped, moved)


@pytest.mark.parametrize("op", ("GRU", "LSTM"))
@pytest.mark.parametrize("direction", ("forward", "reverse", "bidirectional"))
@pytest.mark.parametrize("has_state", (False, True))
@pytest.mark.parametrize("time", ("n", 65))
def test_many_steps_are_a_loop(
    op: str, direction: str, has_state: bool, time: int | str, tmp_path: pathlib.Path
) -> None:
    directions = 2 if direction == "bidirectional" else 1
    options = {"direction": direction} | ({"linear_before_reset": 1} if op == "GRU" and has_state else {})
    bytes_ = layer(op, time, directions, True, has_state, **options)
    for length in (65,) if time == 65 else (1, 7, 70):
        feeds = feeds_of(op, length, directions, has_state)
        assert "WHILE" in check(tmp_path, bytes_, feeds, by_onnx_runtime(bytes_, feeds))


@pytest.mark.parametrize("op", ("GRU", "LSTM"))
def test_batch_must_be_known(op: str, tmp_path: pathlib.Path) -> None:
    model = onnx.load_from_string(layer(op, 6, 1))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(hone.ConvertError) as error:
        hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert [f["reason"] for f in error.value.findings] == ["unsupported-form"]
