"""hone export: what inputs say, causes, and a tiny PyTorch module from end to end."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from hone.export import explain, inputs, names, proof
from hone.export.command import main


def test_inputs_are_read() -> None:
    spec = inputs.parse_input("ids=1x16:int32<1000")
    assert spec == inputs.InputSpec("ids", (1, 16), "int32", 1000)
    assert inputs.parse_input("x=2x3").dtype == "float32"
    dims = inputs.parse_dynamic("x:0=batch,x:2=height%32")
    assert dims == {"x": {0: inputs.Dim("batch"), 2: inputs.Dim("height", 32)}}
    for wrong in ("x", "x=1x", "x=axb", "x=1:nothing"):
        with pytest.raises(ValueError, match="x"):
            inputs.parse_input(wrong)
    with pytest.raises(ValueError, match="batch"):
        inputs.parse_dynamic("x=batch")
    with pytest.raises(ValueError, match="no input 'y'"):
        inputs.check_dynamic({"y": {}}, {"x": (1,)})


def test_cases_change_every_dynamic_dim() -> None:
    dims = inputs.parse_dynamic("x:0=batch,x:1=length%4")
    cases = inputs.make_cases({"x": np.zeros((2, 16), np.float32)}, dims)
    shapes = {feeds["x"].shape for _, feeds in cases}
    assert {s[0] for s in shapes} == {1, 2, 3}
    assert len({s[1] for s in shapes}) == 3
    assert all(s[1] % 4 == 0 for s in shapes)
    drawn = inputs.like(np.array([5, 9]), (40,), np.random.default_rng(0))
    assert set(drawn) == {5, 9}, "integers come from the example"


def test_comparison_sees_what_differs() -> None:
    x = np.array([1.0, np.nan, np.inf], np.float32)
    assert proof.compare(x, x.copy()) == (0.0, "")
    assert proof.compare(x, np.array([1.1, np.nan, np.inf], np.float32))[1]
    assert proof.compare(x, np.array([1, 2, np.inf], np.float32))[1]
    for wrong in (5, -np.inf, np.nan):
        y = np.array([1, np.nan, wrong], np.float32)
        assert proof.compare(y, x)[1] and proof.compare(x, y)[1]
    assert "shape" in proof.compare(x, x[:2])[1]
    assert "type" in proof.compare(x, x.astype(np.float64))[1]
    assert proof.compare(np.array([1]), np.array([2]))[1]


def test_names_give_modules() -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Conv", ["x"], ["y"], name="/layer1/layer1.0/conv1/Conv")
    assert names.module_of(node) == "layer1.0.conv1"


def test_causes_are_found() -> None:
    text = (
        'torch.ops.aten.item.default\n  File "/home/me/net.py", line 7, in forward\n'
        "    if x.sum() > 0:\nCould not guard on data-dependent expression Eq(u0, 1)"
    )
    found = explain.diagnose(text, "dynamo")
    assert found.cause == "data-dependent-control-flow"
    assert found.line == "/home/me/net.py:7: if x.sum() > 0"
    assert found.operation == "aten.item.default"
    assert explain.diagnose("something else", "dynamo").cause == "unknown"


def test_module_from_end_to_end(tmp_path: pathlib.Path, monkeypatch: Any, capsys: Any) -> None:
    for package in ("torch", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: no export here")
    (tmp_path / "tiny_net.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    command = "torch tiny_net:make -o m.onnx --input x=1x1x8x8 --dynamic x:0=batch,x:2=height"
    assert main([*command.split(), "--exporter", "torchscript", "--seconds", "0.01"]) == 0
    assert "all equal" in capsys.readouterr().out
    report = (tmp_path / "m.md").read_text()
    assert "| batch=3, height=15 | hone | output |" in report
    assert (tmp_path / "m.html").is_file()


def test_misuse_is_said(capsys: Any) -> None:
    pytest.importorskip("torch", reason="torch is not installed: no export here")
    assert main(["torch", "nothing", "-o", "m.onnx", "--input", "x=1"]) == 2
    assert "MODULE:FACTORY" in capsys.readouterr().err
