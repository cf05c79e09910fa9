"""TensorFlow Lite models: LiteRT's reference kernels and hone give the same answers."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
from real_inputs import real_inputs

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")

SHARED = pathlib.Path(os.environ.get("HONE_SHARED", pathlib.Path(__file__).parents[3] / "shared"))
MODELS = sorted(SHARED.glob("models/*.tflite"))
DATA = SHARED / "data"
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


def litert(path: pathlib.Path, kernels=interpreter.OpResolverType.BUILTIN_REF):
    """LiteRT with its reference kernels, or others."""
    options = {"experimental_op_resolver_type": kernels, "num_threads": 1}
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


def answers(peer, values: list[np.ndarray]) -> list[list[np.ndarray]]:
    """LiteRT's outputs for each value of the one input."""
    results = []
    for value in values:
        peer.set_tensor(peer.get_input_details()[0]["index"], value)
        peer.invoke()
        results.append([peer.get_tensor(d["index"]) for d in peer.get_output_details()])
    return results


def distances(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> np.ndarray:
    """For each input the greatest difference, relative to the output's largest element (in b)."""

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        top = np.abs(y.astype(np.float64)).max()
        return float(np.abs(x.astype(np.float64) - y).max() / max(top, 1e-30))

    return np.array([max(map(distance, x, y)) for x, y in zip(a, b)])


def compare(path: pathlib.Path, values: list[np.ndarray], want: list[list[np.ndarray]], limit: float) -> int:
    """hone gives `want` for the values: integers exactly, floats within `limit`.

    Returns for how many inputs the difference is beyond 1e-5.
    """
    session = hone.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    got = [session.run(None, {name: value}) for value in values]
    off = distances(got, want)
    n_far = int((off > 1e-5).sum())
    print(f"{path.stem}: {len(off)} inputs, largest difference {off.max():.1e}, beyond 1e-5: {n_far}")
    for ours, theirs in zip(got, want):
        for info, x, y in zip(session.get_outputs(), ours, theirs):
            agree(info.name, x, y, limit)
    return n_far


@pytest.mark.skipif(not MODELS, reason=f"no models in {SHARED}")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_equals_litert(path: pathlib.Path) -> None:
    peer, rng = litert(path), np.random.default_rng(0)
    values = [random_input(rng, peer.get_input_details()[0]) for _ in range(RUNS)]
    n_far = compare(path, values, answers(peer, values), 1e-3 if is_hybrid(peer) else 1e-5)
    assert n_far <= max(1, RUNS // 20)


@pytest.mark.skipif(not (MODELS and DATA.is_dir()), reason=f"no models or no data in {SHARED}")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_equals_litert_on_data(path: pathlib.Path) -> None:
    """Digits as pictures, speech as the features that the models were trained on.

    Floats lie within 1e-5 of the reference kernels, or twice what LiteRT's other kernels are away from
    them: sums in another order are further apart here and there.
    """
    peer = litert(path)
    values = list(real_inputs(path, DATA, peer.get_input_details()[0]))
    want, limit = answers(peer, values), 1e-5
    if peer.get_input_details()[0]["dtype"] == np.float32:
        # XNNPACK quantises the activations of hybrid layers otherwise.
        kinds = interpreter.OpResolverType
        other = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if is_hybrid(peer) else kinds.AUTO
        limit = max(limit, 2 * distances(answers(litert(path, other), values), want).max())
    compare(path, values, want, limit)


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
