"""hone export: what inputs say, causes, and a tiny PyTorch module from end to end."""

from __future__ import annotations

import html
import pathlib
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
import pytest

from hone._program import find_program
from hone.export import Export, explain, files, finish, inputs, names, passes, proof, report
from hone.export.command import main
from hone.export.source import Settings, Source


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


@pytest.mark.parametrize("n", [1, 4, 5, 9, 15])
def test_many_dynamic_dims_are_all_covered(n: int) -> None:
    names = [f"d{i}" for i in range(n)]
    dims = {name: {1: inputs.Dim(name)} for name in names}
    cases = inputs.make_cases({name: np.zeros((2, 16), np.float32) for name in names}, dims)
    assert len(cases) <= 6
    sizes = {name: [feeds[name].shape[1] for _, feeds in cases] for name in names}
    assert all(set(s) == {12, 16, 23} for s in sizes.values()), sizes
    assert len({tuple(s) for s in sizes.values()}) == n, "two dims that only ever change together"


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


USERS = """
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        return x @ torch.ones(3, 3)
def fails():
    return {}["weights"]
def gives_a_number():
    return 3
number = 3
"""


@pytest.mark.parametrize(
    ("factory", "status", "said"),
    [
        ("nothing", 2, "'nothing' is not MODULE:FACTORY"),
        ("nets/users.py:Net", 2, "give the module's name: nets.users"),
        ("users_a b:Net", 2, "not the name of a module"),
        ("users_absent:Net", 2, "there is no module 'users_absent'"),
        ("users_nets:Nett", 2, "has no 'Nett'; it has Net, fails, gives_a_number"),
        ("users_nets:number", 2, "is int, neither"),
        ("users_nets:gives_a_number", 2, "gave int, not a torch.nn.Module"),
        ("users_nets:fails", 1, "users_nets:fails failed"),
        ("users_nets:fails", 1, """line 7, in fails\n    return {}["weights"]"""),
        ("users_nets:Net", 1, "line 5, in forward"),
        ("users_syntax:Net", 1, "SyntaxError"),
        ("users_needs:Net", 1, "No module named 'users_missing'"),
        ("users_exits:Net", 1, "SystemExit: 3"),
    ],
)
def test_errors_of_the_users_are_said(
    factory: str, status: int, said: str, tmp_path: pathlib.Path, monkeypatch: Any, capsys: Any
) -> None:
    pytest.importorskip("torch", reason="torch is not installed: no export here")
    (tmp_path / "users_nets.py").write_text(USERS)
    (tmp_path / "users_syntax.py").write_text("def (")
    (tmp_path / "users_needs.py").write_text("import users_missing")
    (tmp_path / "users_exits.py").write_text("import sys; sys.exit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["torch", factory, "-o", "m.onnx", "--input", "x=2x4"]) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("hone: ")
    assert "hone/export" not in error, "a trace of ours"
    assert not [p for p in tmp_path.iterdir() if "onnx" in p.name]


def test_folder_must_exist(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="does not exist"), files.staging(tmp_path / "a" / "m.onnx"):
        pass


def _empty_export(path: pathlib.Path) -> Export:
    path.write_bytes(b"")
    return Export(path, "", "", proof=proof.Proof())


def test_netron_link(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    result = _empty_export(tmp_path / "a model.onnx")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "etron" not in report.markdown(result) + report.page(result)
    program = tmp_path / "netron"
    program.write_text("")
    program.chmod(0o755)
    assert f"`{program} --browse 'a model.onnx'`" in report.markdown(result), "beside the interpreter"
    monkeypatch.setenv("PATH", str(tmp_path))
    command = "netron --browse 'a model.onnx'"
    assert f"`{command}`, then [open Netron](http://localhost:8080)" in report.markdown(result)
    page = report.page(result)
    assert html.escape(command) in page
    assert '<a href="http://localhost:8080">' in page


@pytest.mark.skipif(not shutil.which("netron"), reason="Netron is not installed")
def test_netron_opens_the_model(tmp_path: pathlib.Path) -> None:
    _affine(tmp_path / "a model.onnx")
    text = report.markdown(Export(tmp_path / "a model.onnx", "", "", proof=proof.Proof()))
    command = text.split("graph: `")[1].split("`")[0]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*shlex.split(command), "--port", str(port)], cwd=tmp_path)
    try:
        for _ in range(50):
            time.sleep(0.1)
            try:
                with urllib.request.urlopen(f"http://localhost:{port}") as answer:
                    assert b"a model.onnx" in answer.read()
                return
            except OSError:
                assert server.poll() is None, "Netron has ended"
        pytest.fail("Netron does not answer")
    finally:
        server.terminate()
        server.wait()


def test_cells_of_reports_are_escaped(tmp_path: pathlib.Path) -> None:
    result = _empty_export(tmp_path / "m.onnx")
    assert result.proof is not None
    result.proof.rows.append(proof.Row("n=1", "hone", "a|b", 1.0, "cannot run: x | y\nz"))
    text = report.markdown(result)
    assert "| n=1 | hone | a\\|b | 1.0e+00 | cannot run: x \\| y z |" in text


def _affine(path: pathlib.Path, **options: Any) -> Source:
    """y = x @ w + b, with nodes that passes take away; and the same in numpy."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((32, 32)).astype(np.float32), np.arange(32, dtype=np.float32)
    make = onnx.helper.make_node
    nodes = [
        make("Identity", ["x"], ["same"]),
        make("MatMul", ["same", "w"], ["product"]),
        make("Transpose", ["product"], ["turned"], perm=[1, 0]),
        make("Transpose", ["turned"], ["back"], perm=[1, 0]),
        make("Add", ["back", "b"], ["y"]),
    ]
    typed = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "affine",
        [typed("x", 1, ["n", 32])],
        [typed("y", 1, ["n", 32])],
        [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(b, "b")],
    )
    imports = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=9), path, **options)
    feeds: inputs.Feeds = {"x": np.ones((2, 32), np.float32)}
    return Source(lambda f: [f["x"] @ w + b], feeds, {"x": {0: inputs.Dim("n")}}, ["y"])


@pytest.mark.parametrize("is_optimized", [True, False])
@pytest.mark.parametrize("is_one", [True, False])
def test_external_data(tmp_path: pathlib.Path, is_one: bool, is_optimized: bool) -> None:
    result = Export(tmp_path / "m.onnx", "numpy", "")
    with files.staging(result.path) as staged:
        options = {"location": "m.onnx.data"} if is_one else {"all_tensors_to_one_file": False}
        source = _affine(staged, save_as_external_data=True, size_threshold=0, **options)
        assert len(files.data_files(staged)) == (1 if is_one else 2)
        finish.finish(result, staged, source, Settings(is_optimized, 0))
    assert result.is_proved, result.proof
    assert not [f for f in result.findings if f.startswith("error")]
    # The passes embed what is small; where they are left out, the data come along.
    wanted = {"m.onnx"} if is_optimized else {"m.onnx", "m.onnx.data"}
    assert {p.name for p in tmp_path.iterdir()} == wanted
    assert files.size(result.path) == sum(p.stat().st_size for p in tmp_path.iterdir())
    for verb in ("check", "inspect"):
        subprocess.run([find_program(), verb, result.path], check=True, capture_output=True)


def test_external_data_when_a_tensor_differs(tmp_path: pathlib.Path) -> None:
    result = Export(tmp_path / "m.onnx", "numpy", "")
    with files.staging(result.path) as staged:
        source = _affine(staged, save_as_external_data=True, size_threshold=0, location="m.onnx.data")
        right = source.run
        source.run = lambda feeds: [right(feeds)[0] * 2]
        source.trace = lambda feeds: {"": right(feeds)[0] * 2}
        finish.finish(result, staged, source, Settings(True, 0))
    assert result.proof is not None
    assert result.proof.first.startswith("tensor 'y' of Add"), result.proof.first


#: hone, but for a pass that damages the weights of the product
BROKEN = """#!{python}
import subprocess, sys
done = subprocess.run(["{program}", *sys.argv[1:]])
at = sys.argv.index("--stop-at") + 1 if "--stop-at" in sys.argv else 0
if done.returncode == 0 and (not at or int(sys.argv[at]) >= {bad}):
    import onnx
    path = sys.argv[sys.argv.index("-o") + 1]
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2:
            value = onnx.numpy_helper.to_array(tensor) + 1
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)
sys.exit(done.returncode)
"""


@pytest.mark.parametrize("which", [0, -1])
def test_a_pass_that_changes_results_is_named(
    which: int, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    result = Export(tmp_path / "m.onnx", "numpy", "")
    with files.staging(result.path) as staged:
        source = _affine(staged)
        lists = [passes.optimize(staged, result.path, n).names for n in range(64)]
        steps = [n for n in range(1, 64) if len(lists[n]) > len(lists[n - 1])]
        bad = steps[which]
        name = lists[bad][-1]
        program = tmp_path / "broken"
        program.write_text(BROKEN.format(python=sys.executable, program=find_program(), bad=bad))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(passes, "find_program", lambda: str(program))
        finish.finish(result, staged, source, Settings(True, 0))
    assert result.proof is not None
    first = result.proof.first
    assert first.startswith(f"hone's pass {name} (hone optimize --stop-at {bad}): tensor '"), first
    assert "of MatMul" in first or "of Gemm" in first
