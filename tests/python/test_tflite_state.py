"""Control flow and variables of TensorFlow Lite models: LiteRT and hone agree, run after run."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "tflite"
# test_tflite_signatures.py has the one that is left out
MODELS = sorted(p for p in DATA.glob("*.tflite") if p.stem != "signatures")
STATEFUL = ("counter", "ring", "branches", "turns")


def peer_of(path: pathlib.Path):
    kind = interpreter.OpResolverType.BUILTIN_REF
    peer = interpreter.Interpreter(str(path), experimental_op_resolver_type=kind, num_threads=1)
    peer.allocate_tensors()
    return peer


def inputs_of(path: pathlib.Path, n: int) -> list[np.ndarray]:
    detail = peer_of(path).get_input_details()[0]
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(detail["shape"]) * 2).astype(np.float32) for _ in range(n)]


def expected(path: pathlib.Path, xs: list[np.ndarray]) -> list[np.ndarray]:
    peer = peer_of(path)
    results = []
    for x in xs:
        peer.set_tensor(peer.get_input_details()[0]["index"], x)
        peer.invoke()
        results.append(peer.get_tensor(peer.get_output_details()[0]["index"]).copy())
    return results


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("optimize", [0, 1, 2])
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_runs(path: pathlib.Path, optimize: int) -> None:
    session = hone.InferenceSession(str(path), hone.SessionOptions(optimize=optimize))
    name = session.get_inputs()[0].name
    xs = inputs_of(path, 6)
    for x, theirs in zip(xs, expected(path, xs)):
        close(session.run(None, {name: x})[0], theirs)


@pytest.mark.parametrize("stem", STATEFUL)
def test_state(stem: str, tmp_path: pathlib.Path) -> None:
    """State is an input with a default; it is carried, fed, set back, and kept by engine files."""
    path = DATA / f"{stem}.tflite"
    xs = inputs_of(path, 4)
    theirs = expected(path, xs)
    hone.build(str(path), tmp_path / "m.hone")
    session = hone.InferenceSession(tmp_path / "m.hone")
    first, *states = session.get_inputs()
    assert not first.state and states and all(s.state and s.optional for s in states)
    for _ in range(2):
        for x, y in zip(xs, theirs):
            close(session.run(None, {first.name: x})[0], y)
        session.reset_state()
    fed: dict[str, np.ndarray] = {}
    names = [o.name for o in session.get_outputs()]
    for x, y in zip(xs, theirs):
        results = dict(zip(names, session.run(None, {first.name: x, **fed})))
        close(results[names[0]], y)
        session.reset_state()
        fed = {s.name: results[s.name + "_next"] for s in states}


def test_binding_has_state_of_its_own() -> None:
    path = DATA / "counter.tflite"
    xs = inputs_of(path, 3)
    session = hone.InferenceSession(str(path))
    buffer = np.zeros_like(xs[0])
    binding = session.bind({session.get_inputs()[0].name: buffer})
    for x, y in zip(xs, expected(path, xs)):
        session.run(None, {session.get_inputs()[0].name: x * 2})
        buffer[:] = x
        binding.run()
        close(binding.outputs()[0], y)


def test_failed_run_sets_state_back() -> None:
    path = DATA / "counter.tflite"
    xs = inputs_of(path, 1)
    session = hone.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    session.run(None, {name: xs[0] * 3})
    with pytest.raises(hone.HoneError):
        session.run(None, {name: np.zeros((7, 7), np.float32)})
    close(session.run(None, {name: xs[0]})[0], expected(path, xs)[0])
