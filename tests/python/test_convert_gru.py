"""GRU layers to TensorFlow Lite: LiteRT and hone give ONNX Runtime's results on the file that was written."""

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


def layer(time: int | str, directions: int, has_bias: bool, has_state: bool, **attributes) -> bytes:
    rng = np.random.default_rng(7)
    shapes = {"w": (directions, 3 * UNITS, IN), "r": (directions, 3 * UNITS, UNITS)}
    if has_bias:
        shapes["b"] = (directions, 6 * UNITS)
    weights = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32) * np.float32(0.5), name)
        for name, s in shapes.items()
    ]
    given = {"x": (time, BATCH, IN)}
    if has_state:
        given["h"] = (directions, BATCH, UNITS)
    names = ["x", "w", "r", "b" if has_bias else "", "", "h" if has_state else ""]
    made = {"y": [None] * 4, "last": [None] * 3}
    graph = helper.make_graph(
        [helper.make_node("GRU", names, list(made), hidden_size=UNITS, **attributes)],
        "g",
        [helper.make_tensor_value_info(name, P.FLOAT, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info(name, P.FLOAT, shape) for name, shape in made.items()],
        weights,
    )
    opsets = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    bytes_: bytes = model.SerializeToString()
    return bytes_


@pytest.mark.parametrize("direction", ("forward", "reverse", "bidirectional"))
@pytest.mark.parametrize("reset_last", (0, 1))
@pytest.mark.parametrize("has_bias", (False, True))
@pytest.mark.parametrize("has_state", (False, True))
def test_form(
    direction: str, reset_last: int, has_bias: bool, has_state: bool, tmp_path: pathlib.Path
) -> None:
    directions = 2 if direction == "bidirectional" else 1
    bytes_ = layer(6, directions, has_bias, has_state, direction=direction, linear_before_reset=reset_last)
    (tmp_path / "m.onnx").write_bytes(bytes_)
    hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite", verify=None)
    rng = np.random.default_rng(8)
    feeds = {"x": rng.standard_normal((6, BATCH, IN)).astype(np.float32)}
    if has_state:
        feeds["h"] = rng.standard_normal((directions, BATCH, UNITS)).astype(np.float32)
    wanted = ort.InferenceSession(bytes_, providers=["CPUExecutionProvider"]).run(None, feeds)
    run = interpreter.Interpreter(str(tmp_path / "m.tflite")).get_signature_runner()
    own = hone.InferenceSession(tmp_path / "m.tflite")
    for _ in range(2):  # no state is left behind
        by_litert = run(**feeds)
        by_hone = dict(zip([o.name for o in own.get_outputs()], own.run(None, feeds)))
        for name, want in zip(("y", "last"), wanted):
            np.testing.assert_allclose(by_litert[name], want, rtol=0, atol=1e-6)
            np.testing.assert_allclose(by_hone[name], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("time", ("n", 65))
def test_length_must_be_short_and_known(time: int | str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.onnx").write_bytes(layer(time, 1, True, False))
    with pytest.raises(hone.ConvertError) as error:
        hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert [f["reason"] for f in error.value.findings] == ["unsupported-form"]
