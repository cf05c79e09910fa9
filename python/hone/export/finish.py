"""What follows every export: hone's passes and checker, the proof, the figures."""

from __future__ import annotations

import pathlib
import subprocess
import time

from .._program import check, find_program
from .inputs import Feeds, make_cases
from .localise import Tracer, first_between_runtimes, first_from_source
from .measure import measure
from .proof import Proof, hone_runner, ort_runner, prove
from .result import Export
from .source import Settings, Source


def _count(path: pathlib.Path) -> int:
    import onnx

    return len(onnx.load(path, load_external_data=False).graph.node)


def _optimize(path: pathlib.Path) -> str:
    """Run hone's passes over a model file, in place. Returns why that could not be, or ""."""
    new = path.with_suffix(".optimized.onnx")
    command = [find_program(), "optimize", str(path), "-o", str(new)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not new.exists():
        new.unlink(missing_ok=True)
        return (done.stderr.strip().splitlines() or ["hone optimize failed"])[0]
    new.replace(path)
    return ""


def _localise(exported: bytes, proof: Proof, cases: dict[str, Feeds], trace: Tracer | None) -> str:
    """Name the first tensor that differs in the first case with a problem."""
    import onnx

    row = proof.problems[0]
    model = onnx.load_from_string(exported)
    feeds = cases[row.case]
    try:
        if row.runtime == "onnxruntime" and trace:
            return first_from_source(model, feeds, trace)
        return first_between_runtimes(model, feeds)
    except Exception as error:  # a model that one of the runtimes refuses
        text = str(error).strip().splitlines() or [type(error).__name__]
        return f"not found: {text[0][:200]}"


def finish(result: Export, source: Source, settings: Settings) -> None:
    """Optimise, check, prove and measure an exported model file."""
    exported = result.path.read_bytes()
    before = _count(result.path)
    if settings.optimize:
        begin = time.perf_counter()
        problem = _optimize(result.path)
        took = time.perf_counter() - begin
        result.remarks.append(
            f"hone's passes were not run: {problem}" if problem else f"passes: {took:.1f} s"
        )
    result.n_nodes = (before, _count(result.path))
    result.findings = [
        f"{f['severity']}: {f['message']}"
        for f in check(result.path)
        if f["severity"] not in ("note", "info")
    ]
    cases = make_cases(source.feeds, source.dynamic)
    result.proof = prove(source.run, result.path, cases, source.outputs)
    if not result.proof.is_equal:
        result.proof.first = _localise(exported, result.proof, dict(cases), source.trace)
    if settings.seconds > 0 and result.proof.is_equal:
        path, feeds, seconds = result.path, source.feeds, settings.seconds
        result.measures = [
            measure("source framework", feeds, seconds, run=source.run),
            measure("ONNX Runtime", feeds, seconds, load=lambda: ort_runner(path)),
            measure("hone", feeds, seconds, load=lambda: hone_runner(path)),
        ]
