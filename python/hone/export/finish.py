"""What follows every export: hone's passes and checker, the proof, the figures."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable

from .._program import check
from .files import place
from .inputs import Feeds, make_cases
from .localise import Tracer, first_between_models, first_between_runtimes, first_from_source
from .measure import measure
from .passes import first_bad, optimize
from .proof import Row, differs, hone_runner, ort_runner, prove
from .result import Export
from .source import Settings, Source


def _count(path: pathlib.Path) -> int:
    import onnx

    return len(onnx.load(path, load_external_data=False).graph.node)


def _or_why_not(find: Callable[[], str]) -> str:
    """What a search gives, or why it could not be made."""
    try:
        return find()
    except Exception as error:  # a model that one of the runtimes refuses
        text = str(error).strip().splitlines() or [type(error).__name__]
        return f"not found: {text[0][:200]}"


def _blame_pass(exported: pathlib.Path, final: pathlib.Path, feeds: Feeds) -> str:
    """The pass after which ONNX Runtime no longer gives what it gives for the exported model.

    Returns "" where it gives the same for the final one.
    """
    want = ort_runner(exported)(feeds)
    if not differs(lambda: ort_runner(final)(feeds), want):
        return ""
    after, before = (exported.with_suffix(f".{n}.onnx") for n in ("after", "before"))

    def is_bad(n: int) -> bool:
        if optimize(exported, after, stop_at=n).problem:
            return False  # nothing was written that could be wrong
        return differs(lambda: ort_runner(after)(feeds), want)

    n = first_bad(is_bad)
    if not n:
        return "hone's passes, but no number of them alone (hone optimize --stop-at)"
    applied = optimize(exported, after, stop_at=n)
    optimize(exported, before, stop_at=n - 1)
    found = _or_why_not(lambda: first_between_models(before, after, feeds))
    found = found or "no tensor that both models have differs"
    return f"hone's pass {applied.names[-1]} (hone optimize --stop-at {n}): {found}"


def _localise(
    row: Row, exported: pathlib.Path, final: pathlib.Path, feeds: Feeds, trace: Tracer | None
) -> str:
    """Name the first tensor that differs, and what makes it: a pass, an exporter or the engine.

    exported is the model before hone's passes, and final itself where they were not run.
    """
    if row.runtime == "onnxruntime":
        blamed = _blame_pass(exported, final, feeds) if exported != final else ""
        return blamed or (first_from_source(exported, feeds, trace) if trace else "")
    if row.runtime == "hone":
        found = first_between_runtimes(exported, feeds)
        return found or "nowhere once all tensors are outputs: what the engine fuses differs"
    return ""  # the source itself cannot run


def _run_passes(result: Export, exported: pathlib.Path) -> pathlib.Path:
    """Write result.path. Returns the model as it was before the passes."""
    begin = time.perf_counter()
    problem = optimize(exported, result.path).problem
    if not problem:
        result.remarks.append(f"passes: {time.perf_counter() - begin:.1f} s")
        return exported
    result.remarks.append(f"hone's passes were not run: {problem}")
    place(exported, result.path)
    return result.path


def finish(result: Export, exported: pathlib.Path, source: Source, settings: Settings) -> None:
    """Make result.path of an exported model file: optimise, check, prove and measure it.

    exported is in a folder of its own (files.staging) and is moved where passes leave it as it is.
    """
    before = _count(exported)
    if settings.optimize:
        exported = _run_passes(result, exported)
    else:
        place(exported, result.path)
        exported = result.path
    result.n_nodes = (before, _count(result.path))
    result.findings = [
        f"{f['severity']}: {f['message']}"
        for f in check(result.path)
        if f["severity"] not in ("note", "info")
    ]
    cases = make_cases(source.feeds, source.dynamic)
    result.proof = prove(source.run, result.path, cases, source.outputs)
    if not result.proof.is_equal:
        row = result.proof.problems[0]
        feeds, final = dict(cases)[row.case], result.path
        result.proof.first = _or_why_not(lambda: _localise(row, exported, final, feeds, source.trace))
    if settings.seconds > 0 and result.proof.is_equal:
        path, feeds, seconds = result.path, source.feeds, settings.seconds
        result.measures = [
            measure("source framework", feeds, seconds, run=source.run),
            measure("ONNX Runtime", feeds, seconds, load=lambda: ort_runner(path)),
            measure("hone", feeds, seconds, load=lambda: hone_runner(path)),
        ]
