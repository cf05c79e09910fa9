"""Files with several signatures: each is a model of its own."""

from __future__ import annotations

import json
import pathlib
import subprocess

import numpy as np
import pytest

import hone
from hone._program import find_program

FILE = pathlib.Path(__file__).resolve().parents[1] / "data" / "tflite" / "signatures.tflite"
rng = np.random.default_rng(0)
FEEDS = {
    "encode": {"image": rng.standard_normal((2, 4)).astype(np.float32)},
    "decode": {"code": rng.standard_normal(4).astype(np.float32), "gain": np.array(3, np.float32)},
}


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find_program(), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("from_bytes", (False, True))
@pytest.mark.parametrize("key", FEEDS)
def test_as_litert(key: str, from_bytes: bool) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    theirs = interpreter.Interpreter(str(FILE)).get_signature_runner(key)(**FEEDS[key])
    session = hone.InferenceSession(FILE.read_bytes() if from_bytes else FILE, signature=key)
    assert {i.name for i in session.get_inputs()} == set(FEEDS[key])
    ours = dict(zip([o.name for o in session.get_outputs()], session.run(None, FEEDS[key])))
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-6)


def test_the_first_is_taken() -> None:
    facts = hone.inspect(FILE)
    assert sorted(facts["signatures"]) == ["decode", "encode"]
    assert facts["signature"] == facts["signatures"][0]
    for key, feeds in FEEDS.items():
        facts = hone.inspect(FILE, signature=key)
        assert facts["signature"] == key and {i["name"] for i in facts["inputs"]} == set(feeds)
    assert hone.check(FILE) == []


def test_engines_and_conversions_of_one(tmp_path: pathlib.Path) -> None:
    hone.build(FILE, tmp_path / "m.hone", signature="decode")
    done = program("convert", str(FILE), "-o", str(tmp_path / "m.onnx"), "--signature", "decode")
    assert done.returncode == 0, done.stderr
    want = hone.InferenceSession(FILE, signature="decode").run(["image"], FEEDS["decode"])
    for name in ("m.hone", "m.onnx"):
        got = hone.InferenceSession(tmp_path / name).run(["image"], FEEDS["decode"])
        np.testing.assert_array_equal(got[0], want[0])


def test_an_unknown_one_names_those_there_are(tmp_path: pathlib.Path) -> None:
    done = program("run", str(FILE), "--signature", "train")
    assert done.returncode == 1
    assert "no signature train" in done.stderr and "encode" in done.stderr and "decode" in done.stderr
    hone.build(FILE, tmp_path / "m.hone")
    for options in ({"signature": "encode"}, {"sess_options": hone.SessionOptions(signature="encode")}):
        with pytest.raises(hone.HoneError, match="build it again"):
            hone.InferenceSession(tmp_path / "m.hone", **options)
    report = program("inspect", "--json", str(FILE), "--signature", "encode")
    assert json.loads(report.stdout)["signature"] == "encode"


def test_onnx_models_have_none() -> None:
    model = FILE.parents[3] / "examples" / "digits" / "digits.onnx"
    with pytest.raises(hone.HoneError, match="no signatures"):
        hone.InferenceSession(model, signature="encode")
