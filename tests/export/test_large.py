"""A model over 2 GB, whose weights lie beside it. It takes 12 GB of memory: HONE_LARGE=1 runs it."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
import torch
from torch import nn

from hone._program import find_program
from hone.export import export_torch, files

WIDTH, LAYERS = 8192, 9


@pytest.mark.skipif(not os.environ.get("HONE_LARGE"), reason="HONE_LARGE is not set")
def test_over_two_gigabytes(tmp_path: pathlib.Path) -> None:
    torch.manual_seed(0)
    layers = []
    for _ in range(LAYERS):
        layer = nn.utils.skip_init(nn.Linear, WIDTH, WIDTH, bias=False)
        nn.init.uniform_(layer.weight, -0.02, 0.02)
        layers += [layer, nn.ReLU()]
    path = tmp_path / "m.onnx"
    result = export_torch(
        nn.Sequential(*layers), torch.rand(2, WIDTH), path, dynamic="input:0=batch", seconds=0
    )
    assert result.is_proved, result.proof
    assert not any("passes were not run" in r for r in result.remarks), result.remarks
    assert files.size(path) > 2 << 30
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data", "m.md", "m.html"}
    for arguments in (["check"], ["inspect"], ["run", "--input", "random"]):
        subprocess.run([find_program(), *arguments, path], check=True, capture_output=True)
