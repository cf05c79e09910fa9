"""TensorFlow Lite to ONNX: ONNX Runtime's outputs are LiteRT's, a step of rounding aside."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest

pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

import test_tflite  # noqa: E402
import test_tflite_operators as operators  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get("HONE_LIBRARY", "build/libhone.so")).parent / "hone"
if not PROGRAM.exists():
    pytest.skip(f"the program {PROGRAM} is not built", allow_module_level=True)


def convert(path: pathlib.Path, out: pathlib.Path, *options: str) -> tuple[int, dict]:
    command = [str(PROGRAM), "convert", str(path), "-o", str(out), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}")


LEVEL = ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def runner(path: pathlib.Path):
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVEL
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


#: How far outputs may lie apart: steps of integers; a part of the largest float. Softmax over noise makes
#: a step before it many.
LIMITS = {
    "mlperf_tiny_ad01_int8": 0,
    "mlperf_tiny_kws_ref_model": 2,
    "mlperf_tiny_vww_96_int8": 2,
    "tflm_person_detect": 4,
    "mlperf_tiny_pretrainedResnet_quant": 64,
    "mlperf_tiny_kws_ref_model_float32": 0.1,  # hybrid: float here
}


@pytest.mark.skipif(not test_tflite.MODELS, reason=f"no models in {test_tflite.SHARED}")
@pytest.mark.parametrize("path", test_tflite.MODELS, ids=lambda p: p.stem)
def test_model(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "m.onnx"
    status, facts = convert(path, out)
    assert status == 0 and facts["verified"], facts
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert {n.domain for n in model.graph.node} <= {"", "ai.onnx"}
    kinds = [n.op_type for n in model.graph.node]
    if path.stem.startswith("mlperf_tiny"):
        assert kinds.count("Transpose") <= 2  # none inside the network
    peer, session = test_tflite.litert(path), runner(out)
    rng = np.random.default_rng(0)
    inputs = peer.get_input_details()
    for _ in range(5):
        values = [test_tflite.random_input(rng, d) for d in inputs]
        for detail, value in zip(inputs, values):
            peer.set_tensor(detail["index"], value)
        peer.invoke()
        feeds = dict(zip([i.name for i in session.get_inputs()], values))
        for detail, ours in zip(peer.get_output_details(), session.run(None, feeds)):
            theirs = peer.get_tensor(detail["index"])
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            limit = LIMITS.get(path.stem, 1e-4)
            if theirs.dtype == np.float32:
                limit *= np.abs(theirs).max()
            assert np.abs(ours.astype(np.float64) - theirs).max() <= limit


#: Operators on 8 and 16 bits: layers (with per-channel weights), arithmetic, pools, tables.
QUANTISED = [c for c in operators.CASES if c.values[5] != operators.F32]


@pytest.mark.parametrize(
    "op,shapes,out,extra,options,kind,same,out_kind,scale,zero,positive,steps,resolver,fields", QUANTISED
)
def test_operator(tmp_path, monkeypatch, op, shapes, out, extra, options, kind, same, out_kind, scale, zero,
                  positive, steps, resolver, fields) -> None:
    if op == "RESIZE_NEAREST_NEIGHBOR":  # ONNX Runtime 1.32 moves a Transpose across Resize without its axes
        level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        monkeypatch.setitem(globals(), "LEVEL", level)
    limit = 2 if op == "REDUCE_PROD" else 1  # LiteRT rounds after each factor
    monkeypatch.setattr(
        operators, "compare", lambda data, *a, **k: compare(data, tmp_path, positive, resolver, limit)
    )
    operators.test_operator(op, shapes, out, extra, options, kind, same, out_kind, scale, zero, positive,
                            steps, resolver, fields)


def compare(data: bytes, folder: pathlib.Path, positive: bool, resolver, limit: int) -> None:
    path, out = folder / "m.tflite", folder / "m.onnx"
    path.write_bytes(data)
    status, facts = convert(path, out, "--no-verify")
    if status:
        assert not out.exists()
        reasons = {f["reason"] for f in facts["findings"]}
        assert reasons and reasons <= {"no-equivalent", "unsupported-type"}
        assert all(f["cure"] for f in facts["findings"])
        pytest.skip("refused: " + ", ".join(f["op"] for f in facts["findings"]))
    try:
        session = runner(out)
    except ort.capi.onnxruntime_pybind11_state.NotImplemented as e:
        pytest.skip(f"ONNX Runtime does not have it: {str(e)[:120]}")
    peer = operators.litert(data, resolver)
    rng = np.random.default_rng(1)
    for _ in range(5):
        feeds = {}
        for detail, io in zip(peer.get_input_details(), session.get_inputs()):
            feeds[io.name] = operators.random(rng, detail, positive)
            peer.set_tensor(detail["index"], feeds[io.name])
        peer.invoke()
        for detail, ours in zip(peer.get_output_details(), session.run(None, feeds)):
            theirs = peer.get_tensor(detail["index"])
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            if theirs.dtype == np.float32:
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
            else:
                assert np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max(initial=0) <= limit
