"""hone compare: statistics, agreement, absence, wrong answers, the reports and the command."""

from __future__ import annotations

import json
import math
import pathlib
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hone.compare import (
    agreement,
    cases,
    charts,
    command,
    machine,
    markdown,
    measure,
    page,
    results,
    statistics,
    tables,
)
from hone.compare.results import Document, Outcome, Result
from hone.compare.statistics import Spread

FAST = measure.Effort(rounds=2, seconds=0.01, least=1, loads=1)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    """y = relu(x w), with an open batch."""
    weights = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "tiny.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, path)
    return path


def setting(model: pathlib.Path, tmp_path: pathlib.Path, precision: str = "fp32"):
    case = cases.open_case(model, {})
    return measure.Setting(case, precision, 1, 1, "off", "", tmp_path)


def silent(_fraction: float, _what: str) -> None:
    pass


# ---- statistics -----------------------------------------------------------------------------


def test_ratios_are_of_pairs_of_rounds():
    found = statistics.ratios([2.0, 40.0, 3.0], [1.0, 10.0, 3.0])
    assert found.median == 2.0
    assert 1.0 < found.p10 < 2.0 < found.p90 < 4.0


def test_noise_that_hits_all_alike_leaves_the_ratio():
    noise = [1.0, 3.0, 1.5, 2.0]
    found = statistics.ratios([3 * n for n in noise], [2 * n for n in noise])
    assert found == Spread(1.5, 1.5, 1.5)


def test_rounds_must_be_pairs():
    with pytest.raises(ValueError, match="rounds"):
        statistics.ratios([1.0], [1.0, 2.0])


def test_fastest_and_geometric_mean():
    assert statistics.fastest({"a": [1.0, 9.0, 2.0], "b": [3.0, 3.0, 1.0]}) == "a"
    assert statistics.fastest({}) is None
    assert statistics.geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2.0)
    assert math.isnan(statistics.geometric_mean([]))


def test_rate_takes_the_best_peer():
    outcomes = {
        "hone": Outcome("ok", rounds_ms=[1.0, 1.0]),
        "ort": Outcome("ok", rounds_ms=[3.0, 3.0]),
        "openvino": Outcome("ok", rounds_ms=[2.0, 2.0]),
        "torch": Outcome("wrong"),
    }
    result = Result("m", "M", "fp32", 1, 1, outcomes=outcomes)
    measure.rate(result)
    assert result.best_peer == "openvino"
    assert result.ratio == Spread(2.0, 2.0, 2.0)


# ---- agreement ------------------------------------------------------------------------------


def test_difference():
    want = [np.array([1.0, -4.0], np.float32)]
    error = agreement.difference([np.array([1.0, -3.0], np.float32)], want)
    assert error == agreement.Error(0.25, 0.125)
    assert math.isinf(agreement.difference([np.zeros(3, np.float32)], want).largest)
    assert math.isinf(agreement.difference([], want).largest)
    assert math.isinf(agreement.difference([np.array([np.nan, 1], np.float32)], want).largest)


def test_the_majority_is_the_anchor_and_ours_is_never_preferred():
    right, wrong = [np.ones(3)], [np.zeros(3)]
    found = agreement.choose_anchor({"hone": wrong, "ort": right}, 1e-3)
    assert found == "ort"
    outputs = {"ort": wrong, "openvino": right, "torch": right}
    assert agreement.choose_anchor(outputs, 1e-3) == "openvino"


def test_outputs_are_ordered_by_shape():
    a, b = np.zeros((1, 4)), np.ones((1, 2))
    assert agreement.in_order_of("litert", [b, a], [a, b])[0] is a
    assert agreement.in_order_of("ort", [b, a], [a, b])[0] is b
    twice = [np.ones((1, 4)), np.zeros((1, 4))]
    assert agreement.in_order_of("litert", twice, [a, a]) is twice


# ---- cases ----------------------------------------------------------------------------------


def test_guessed_inputs(model):
    case = cases.open_case(model, {})
    assert case.has_batch
    assert case.shapes(3) == {"x": [3, 8]}
    assert case.symbols(3) == {"n": 3}
    np.testing.assert_array_equal(case.feeds(2)["x"], case.feeds(2)["x"])


def test_inputs_written_beside_the_model(model):
    ids = {"dtype": "int64", "shape": ["batch", 5], "values": "integers", "low": 3, "high": 5}
    model.with_suffix(".inputs.json").write_text(json.dumps({"title": "T", "inputs": {"x": ids}}))
    case = cases.open_case(model, {})
    values = case.feeds(40)["x"]
    assert case.title == "T"
    assert values.shape == (40, 5)
    assert set(values.ravel()) == {3, 4}


# ---- measuring ------------------------------------------------------------------------------


def test_hone_alone_is_measured(model, tmp_path):
    result, versions, outputs = measure.compare(
        setting(model, tmp_path), ["hone", "litert"], FAST, silent
    )
    ours, absent = result.outcomes["hone"], result.outcomes["litert"]
    assert ours.status == "ok", ours.reason
    assert len(ours.rounds_ms) == FAST.rounds
    assert ours.latency and ours.load_ms and ours.peak_bytes and ours.disk_bytes
    assert versions["hone"]
    assert outputs["hone"][0].shape == (1, 4)
    assert absent.status == "absent"
    assert "not installed" in absent.reason or "tiny.tflite" in absent.reason
    assert result.best_peer is None


def test_a_wrong_answer_is_reported_and_not_timed(model, tmp_path):
    anchor = "somebody", [np.full((1, 4), 7.0, np.float32)]
    result, _, _ = measure.compare(setting(model, tmp_path), ["hone"], FAST, silent, anchor)
    ours = result.outcomes["hone"]
    assert ours.status == "wrong"
    assert "somebody" in ours.reason
    assert not ours.rounds_ms
    assert result.ratio is None


def test_a_failure_is_reported(tmp_path, model):
    case = cases.open_case(model, {})
    bad = measure.Setting(case, "int8", 1, 1, "off", "", tmp_path)
    result, _, _ = measure.compare(bad, ["hone"], FAST, silent)
    assert result.outcomes["hone"].status == "absent"
    assert "tiny.int8.onnx" in result.outcomes["hone"].reason
    (tmp_path / "tiny.int8.onnx").write_bytes(b"no model")
    result, _, _ = measure.compare(bad, ["hone"], FAST, silent)
    assert result.outcomes["hone"].status == "failed"


# ---- machine --------------------------------------------------------------------------------


def test_facts_of_the_machine():
    assert machine.clock_mhz("cpu MHz\t: 1000.5\nflags: x\ncpu MHz : 2600.0\n") == 2600.0
    assert machine.clock_mhz("") is None
    assert machine.quota_cpus("150000 100000\n") == 1.5
    assert machine.quota_cpus("max 100000\n") is None


# ---- reports --------------------------------------------------------------------------------


def document() -> Document:
    peaks = {"threads": 1, "fp32_gflops": 100.0, "bf16_gflops": 0, "int8_gops": 0}
    facts = {
        "date": "today",
        "cpu": "a <CPU>",
        "isa": "avx2",
        "isa_limit": "",
        "clock_mhz": 2600.0,
        "cpus": 2,
        "quota_cpus": None,
        "memory_gib": 4,
        "load_average": 0.1,
        "system": "Linux",
        "python": "3",
        "peaks": [{**peaks, "read_gb_per_s": 20.0}],
    }
    made = Document(facts, {"rounds": 2, "seconds": 0.5, "least": 3}, {"hone": "1", "ort": "2"})
    for batch in (1, 8):
        ours = Outcome(
            "ok",
            rounds_ms=[1.0, 1.0],
            latency=Spread(1.0, 1.0, 1.0),
            load_ms=1.0,
            first_ms=1.0,
            peak_bytes=2**20,
            disk_bytes=2**20,
            prepare_ms=10.0,
        )
        ort = Outcome(
            "ok",
            rounds_ms=[2.0, 2.0],
            latency=Spread(2.0, 2.0, 2.0),
            load_ms=9.0,
            first_ms=1.0,
            peak_bytes=2**21,
            disk_bytes=2**20,
        )
        gone = Outcome("absent", "not installed")
        outcomes = {"hone": ours, "ort": ort, "torch": gone}
        result = Result("m", "M & <b>", "fp32", 1, batch, "ort", outcomes)
        measure.rate(result)
        made.put(result)
    made.accuracy.append(results.Accuracy("m", "M", "hone", "fp32", 1e-6, 1e-7))
    node = {"node": "a", "op": "Conv", "kernel": "k", "ms": 0.5, "macs": 10**6, "bytes": 10**5}
    made.profiles["m fp32"] = [node]
    return made


def test_documents_survive_their_file(tmp_path):
    path = tmp_path / "d.json"
    document().write(path)
    assert results.read(path) == document()
    path.write_text("{}")
    with pytest.raises(ValueError, match="no results"):
        results.read(path)


def test_tables():
    speed = tables.speed_table(document(), document().select("fp32", 1, 1))
    assert speed.heads == [
        "model",
        "hone ms",
        "ONNX Runtime ms",
        "best peer",
        "ratio",
        "p10",
        "p90",
    ]
    assert speed.rows == [["M & <b>", "1.00", "2.00", "ONNX Runtime", *["2.00"] * 3]]
    assert any("PyTorch: absent: not installed" in note for note in speed.notes)
    assert any("Geometric mean of the ratios: 2.00" in note for note in speed.notes)
    titles = [s.title for s in tables.sections(document())]
    assert "FP32: load to first result" in titles
    assert "FP32: throughput by batch, 1 thread" in titles
    assert "Accuracy" in titles


def test_numbers():
    assert [tables.number(v) for v in (None, 0.01234, 1.234, 12.34, 123.4, 12345.6)] == [
        "-",
        "0.01",
        "1.23",
        "12.3",
        "123",
        "12346",
    ]


def test_markdown_and_html():
    text = markdown.render(document(), "hone compare m.onnx")
    assert "## FP32, 1 thread, batch 1" in text
    assert "M & &lt;b>" in text
    html = page.render(document(), "hone compare m.onnx")
    assert "a &lt;CPU&gt;" in html and "<b>" not in html
    assert html.count("<svg") >= 5
    for outside in ("http://", "https://", "src=", "<link", "<script", "@import"):
        assert outside not in html


def test_roofline_without_layers_is_empty():
    assert charts.roofline([], 1.0, 1.0, "") == ""


# ---- the command ----------------------------------------------------------------------------


def test_command_writes_reports_and_resumes(model, tmp_path, capsys):
    at = {kind: tmp_path / f"out.{kind}" for kind in ("json", "markdown", "html")}
    arguments = [str(model), "--with", "litert", "--quick", "--tune", "off", "--batch", "1,2"]
    arguments += [f"--{kind}={path}" for kind, path in at.items()]
    assert command.main(arguments) == 0
    said = capsys.readouterr()
    assert "tiny" in said.out and "FP32, 1 thread, batch 2" in said.out
    assert "[2/2] tiny" in said.err
    assert len(results.read(at["json"]).results) == 2
    assert at["html"].read_text().startswith("<!doctype html>")
    assert command.main([*arguments, "--resume", "--batch", "1,2,3"]) == 0
    said = capsys.readouterr()
    assert "[1/1] tiny fp32-t1-b3" in said.err


def test_command_misuse(model, capsys):
    for arguments in (["--with", "nobody"], ["--threads", "0"], ["--resume"]):
        with pytest.raises(SystemExit) as error:
            command.main([str(model), *arguments])
        assert error.value.code == 2
    assert command.main([str(model.with_name("absent.onnx"))]) == 1
    assert "there is no file" in capsys.readouterr().err


def test_fp64_reference(model, tmp_path):
    from hone.compare import accuracy

    case = cases.open_case(model, {})
    got = accuracy.reference_outputs(case, 1, tmp_path)
    weights = onnx.numpy_helper.to_array(onnx.load(model).graph.initializer[0])
    want = np.maximum(case.feeds(1)["x"].astype(np.float64) @ weights.astype(np.float64), 0)
    assert got is not None and got[0].dtype == np.float64
    np.testing.assert_allclose(got[0], want, rtol=1e-12)


def test_a_worker_that_dies_is_a_failure(model, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result, _, _ = measure.compare(setting(model, tmp_path), ["hone"], FAST, silent)
    assert result.outcomes["hone"].status == "failed"
    assert "ended" in result.outcomes["hone"].reason
