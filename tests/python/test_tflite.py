"""TensorFlow Lite models: LiteRT's reference kernels and hone give the same answers."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")

SHARED = pathlib.Path(os.environ.get("HONE_SHARED", pathlib.Path(__file__).parents[3] / "shared"))
MODELS = sorted(SHARED.glob("models/*.tflite"))
RUNS = int(os.environ.get("HONE_TFLITE_RUNS", "100"))


def repaired(data: bytes) -> bytes:
    """Old files say that scales of biases lie along axis 3; LiteRT refuses what it once wrote."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization and tensor.quantization.quantizedDimension >= len(tensor.shape):
                tensor.quantization.quantizedDimension = 0
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def litert(path: pathlib.Path):
    """LiteRT's reference kernels, without XNNPACK."""
    options = {
        "experimental_op_resolver_type": interpreter.OpResolverType.BUILTIN_REF,
        "num_threads": 1,
    }
    data = path.read_bytes()
    try:
        made = interpreter.Interpreter(model_content=data, **options)
    except ValueError:
        made = interpreter.Interpreter(model_content=repaired(data), **options)
    made.allocate_tensors()
    return made


def random_input(rng: np.random.Generator, detail: dict) -> np.ndarray:
    if detail["dtype"] == np.float32:
        return rng.standard_normal(detail["shape"]).astype(np.float32)
    limits = np.iinfo(detail["dtype"])
    return rng.integers(limits.min, limits.max + 1, detail["shape"]).astype(detail["dtype"])


def agree(name: str, ours: np.ndarray, theirs: np.ndarray, limit: float = 1e-5) -> None:
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, name
    if ours.dtype == np.float32:
        most = limit * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=limit, atol=most, err_msg=name)
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def is_hybrid(peer) -> bool:
    """Layers of 8-bit weights that quantise float activations as they run.

    The last bit of a float decides then, now and then, which way an activation is rounded: a step of
    1/255 of its range.
    """
    types = {np.dtype(d["dtype"]) for d in peer.get_tensor_details()}
    return np.dtype(np.int8) in types and peer.get_input_details()[0]["dtype"] == np.float32


@pytest.mark.skipif(not MODELS, reason=f"no models in {SHARED}")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_equals_litert(path: pathlib.Path) -> None:
    peer, session = litert(path), hone.InferenceSession(str(path))
    inputs, outputs = peer.get_input_details(), peer.get_output_details()
    rng = np.random.default_rng(0)
    runs = RUNS if path.stat().st_size < 1 << 20 else max(1, RUNS // 10)
    limit, n_rounded_otherwise = (1e-3 if is_hybrid(peer) else 1e-5), 0
    for _ in range(runs):
        values = [random_input(rng, d) for d in inputs]
        for detail, value in zip(inputs, values):
            peer.set_tensor(detail["index"], value)
        peer.invoke()
        names = [i.name for i in session.get_inputs()]
        results = session.run(None, dict(zip(names, values)))
        for detail, ours in zip(outputs, results):
            theirs = peer.get_tensor(detail["index"])
            agree(detail["name"], ours, theirs, limit)
            if limit > 1e-5:
                n_rounded_otherwise += np.abs(ours - theirs).max() > 1e-5 * np.abs(theirs).max()
    assert n_rounded_otherwise <= max(1, runs // 20)


def test_ultraface_formats_agree() -> None:
    """The same network as ONNX (channels first) and as TensorFlow Lite (channels last)."""
    paths = [SHARED / "models" / f"ultraface_rfb_320_raw.{kind}" for kind in ("onnx", "tflite")]
    if not all(p.exists() for p in paths):
        pytest.skip(f"no models in {SHARED}")
    onnx, tflite = (hone.InferenceSession(str(p)) for p in paths)
    x = np.random.default_rng(0).standard_normal((1, 3, 240, 320)).astype(np.float32)
    a = onnx.run(None, {onnx.get_inputs()[0].name: x})
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    b = tflite.run(None, {tflite.get_inputs()[0].name: channels_last})
    assert len(a) == len(b)
    for ours in a:
        matches = [t for t in b if t.size == ours.size]
        assert matches, "no output of that size"
        best = min(np.abs(t.reshape(ours.shape) - ours).max() for t in matches)
        # The files' weights differ: ONNX Runtime and LiteRT are 3e-4 apart on this input.
        assert best <= 1e-3 * np.abs(ours).max()


def test_hostile() -> None:
    """Damaged files are refused, or run."""
    if not MODELS:
        pytest.skip(f"no models in {SHARED}")
    data = bytearray(MODELS[0].read_bytes())
    for length in (0, 4, 8, 9, 100, len(data) // 2):
        with pytest.raises(hone.HoneError):
            hone.InferenceSession(bytes(data[:length]))
