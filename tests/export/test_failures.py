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


#: these show with the older exporter only
OLDER = ("value-as-python-number", "numpy-in-forward")


def attempt(
    model: Any, shape: tuple[int, ...], dims: str, path: pathlib.Path, exporter: str = "auto"
) -> tuple[Export | None, list[explain.Diagnosis]]:
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    try:
        result = export_torch(
            model(),
            torch.rand(shape),
            path,
            dynamic=dims,
            seconds=0,
            report=False,
            optimize=False,
            exporter=exporter,
        )
    except ExportError as error:
        return None, error.diagnoses
    return result, result.diagnoses


@pytest.mark.parametrize("case", CASES)
def test_failing(case: str, tmp_path: pathlib.Path) -> None:
    failing, _, shape, dims = CASES[case]
    exporter = "torchscript" if case in OLDER else "auto"
    _, found = attempt(failing, shape, dims, tmp_path / "m.onnx", exporter)
    text = "\n".join(d.text() for d in found)
    assert case.split(" ", maxsplit=1)[0] in {d.cause for d in found}, text
    if case != "missing-operator":  # whose operation is named instead
        assert any("cases.py" in d.line for d in found), text


@pytest.mark.parametrize("case", CASES)
def test_cured(case: str, tmp_path: pathlib.Path) -> None:
    _, cured, shape, dims = CASES[case]
    result, _ = attempt(cured, shape, dims, tmp_path / "m.onnx")
    assert result is not None
    assert result.is_proved, result.proof
    assert result.exporter == "dynamo", [d.text() for d in result.diagnoses]


def test_table_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "export-failures.md").read_text(encoding="utf-8")
    assert explain.table() in text, "write it: python -m hone.export.explain"
