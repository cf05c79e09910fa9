"""The ONNX node cases through hone convert and LiteRT: what passes and what is refused is as listed."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")

ROOT = pathlib.Path(__file__).parents[2]
CASES = pathlib.Path(os.environ.get("HONE_CASES", ROOT / "build" / "cases")) / "node"

sys.path.insert(0, str(ROOT / "tests" / "suite"))
import tflite_suite  # noqa: E402


@pytest.mark.skipif(not CASES.is_dir(), reason="no cases: make test writes them, HONE_CASES names them")
def test_as_listed() -> None:
    results = tflite_suite.run_all(CASES)
    assert tflite_suite.differences(results) == []
    assert not set(tflite_suite.read_list()) - set(results)
