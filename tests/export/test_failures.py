"""Causes of failed exports: each has a model that shows it, and a cured twin that is proved."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import pytest
import torch
from cases import CASES

from hone.export import Export, explain, export_torch
from hone.export.result import ExportError

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]


def attempt(model: Any, shape: tuple[int, ...], dims: str, path: pathlib.Path) -> Export | None:
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    try:
        return export_torch(
            model(), torch.rand(shape), path, dynamic=dims, seconds=0, report=False, optimize=False
        )
    except ExportError as error:
        attempt.diagnoses = error.diagnoses
        return None


@pytest.mark.parametrize("case", CASES)
def test_failing(case: str, tmp_path: pathlib.Path) -> None:
    failing, _, shape, dims = CASES[case]
    result = attempt(failing, shape, dims, tmp_path / "m.onnx")
    found = attempt.diagnoses if result is None else result.diagnoses
    text = "\n".join(d.text() for d in found)
    assert case.split(" ", maxsplit=1)[0] in {d.cause for d in found}, text
    assert any("cases.py" in d.line for d in found), text


@pytest.mark.parametrize("case", CASES)
def test_cured(case: str, tmp_path: pathlib.Path) -> None:
    _, cured, shape, dims = CASES[case]
    result = attempt(cured, shape, dims, tmp_path / "m.onnx")
    assert result is not None
    assert result.is_proved, result.proof
    assert result.exporter == "dynamo", [d.text() for d in result.diagnoses]


def test_table_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "export-failures.md").read_text(encoding="utf-8")
    assert explain.table() in text, "write it: python -m hone.export.explain"
