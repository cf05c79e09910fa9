"""The official ONNX node cases through the binding, run by ONNX's own runner.

What tests/suite/known_failures.txt lists must fail, so that the list stays true.
"""

from __future__ import annotations

import pathlib
import unittest
from typing import Any

import onnx.backend.test
import pytest

import hone.backend

LIST = pathlib.Path(__file__).resolve().parents[1] / "suite" / "known_failures.txt"

KNOWN = {
    line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip()
    for line in (LIST.read_text().splitlines() if LIST.exists() else [])
    if ":" in line and not line.startswith("#")
}


#: The runner takes len() of its elements, which are scalars.
NOT_COMPARABLE = {"test_loop16_seq_none"}


class OneThread(hone.backend.HoneBackend):
    """The cases are tiny."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Any:
        return super().prepare(model, device, intra_op_num_threads=1)


def node_cases() -> type[unittest.TestCase]:
    runner = onnx.backend.test.runner.Runner(OneThread, __name__)
    cases = runner.test_cases["OnnxBackendNodeModelTest"]
    for name in [n for n in dir(cases) if n.startswith("test_")]:
        base = name.removesuffix("_cpu").removesuffix("_cuda")
        if name.endswith("_cuda") or base in NOT_COMPARABLE:
            delattr(cases, name)
        elif base in KNOWN:
            setattr(cases, name, must_fail(getattr(cases, name), KNOWN[base]))
    return cases


def must_fail(test: Any, reason: str) -> Any:
    return pytest.mark.xfail(reason=reason, strict=True)(test)


OnnxBackendNodeModelTest = node_cases()
