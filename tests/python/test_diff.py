"""hone diff: what counts as a difference."""

from __future__ import annotations

import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

LIBRARY = pathlib.Path(os.environ.get("HONE_LIBRARY", "build/libhone.so")).resolve()
PROGRAM = LIBRARY.parent / "hone"
if not PROGRAM.exists():
    pytest.skip(f"the program {PROGRAM} is not built", allow_module_level=True)

INF, NAN = np.inf, np.nan


def product(path: pathlib.Path, values: list[float]) -> str:
    """A model that multiplies ones by these values."""
    shape = [len(values)]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
    weight = numpy_helper.from_array(np.array(values, np.float32), "w")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return str(path)


@pytest.mark.parametrize("a,b,is_alike", [
    (1, 1.00001, True),
    (1, 1.1, False),
    (INF, INF, True),
    (NAN, NAN, True),
    (INF, 5, False),
    (5, INF, False),
    (INF, -INF, False),
    (INF, NAN, False),
    (NAN, 5, False),
])
def test_values(tmp_path: pathlib.Path, a: float, b: float, is_alike: bool) -> None:
    np.save(tmp_path / "x.npy", np.ones(2, np.float32))
    one, two = product(tmp_path / "a.onnx", [1, a]), product(tmp_path / "b.onnx", [1, b])
    command = [str(PROGRAM), "diff", one, two, "--input", f"x={tmp_path / 'x.npy'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if is_alike else 1), done.stdout + done.stderr
