"""The proof: the source framework, ONNX Runtime and hone give the same on the same inputs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np

from .inputs import Array, Feeds

#: |a - b| <= ATOL * max|b| + RTOL * |b|; integers and booleans must be equal
RTOL, ATOL = 1e-3, 1e-4

Runner = Callable[[Feeds], list[Array]]


@dataclasses.dataclass
class Row:
    """One output of one runtime in one case."""

    case: str
    runtime: str
    output: str
    difference: float = 0.0  #: greatest, relative to the greatest value
    problem: str = ""  #: "" when equal


@dataclasses.dataclass
class Proof:
    """The rows, and where the first difference arises."""

    rows: list[Row] = dataclasses.field(default_factory=list)
    first: str = ""  #: the first tensor that differs, and its module

    @property
    def is_equal(self) -> bool:
        return bool(self.rows) and not any(row.problem for row in self.rows)

    @property
    def problems(self) -> list[Row]:
        return [row for row in self.rows if row.problem]

    @property
    def greatest(self) -> float:
        return max((row.difference for row in self.rows), default=0.0)


def compare(got: Array, want: Array) -> tuple[float, str]:
    """The greatest difference relative to the greatest value; what is wrong, or ""."""
    if got.shape != want.shape:
        return np.inf, f"shape {list(got.shape)}, not {list(want.shape)}"
    if got.dtype != want.dtype:
        return np.inf, f"type {got.dtype}, not {want.dtype}"
    x, y = got.astype(np.float64), want.astype(np.float64)
    alike = (x == y) | (np.isnan(x) & np.isnan(y))
    if alike.all():  # of nothing too
        return 0.0, ""
    finite = np.abs(y[np.isfinite(y)])
    top = float(finite.max()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        off = np.where(alike, 0.0, np.abs(x - y))  # infinite or NaN where one only is
    allowed = 0.0 if want.dtype.kind in "iub" else ATOL * top + RTOL * np.abs(y)
    share = float(off.max() / (top or 1.0))
    n_off = int((~alike & ~((off <= allowed) & np.isfinite(y))).sum())
    return share, f"{n_off} of {off.size} values differ" if n_off else ""


def differs(run: Callable[[], Sequence[Array]], want: Sequence[Array]) -> bool:
    """Whether a run fails or gives anything else than wanted."""
    try:
        got = run()
    except Exception:  # whatever a runtime raises
        return True
    return len(got) != len(want) or any(compare(a, b)[1] for a, b in zip(got, want))


def ort_runner(model: str | os.PathLike[str]) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.fspath(model), options, providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}

    def run(feeds: Feeds) -> list[Array]:
        return list(session.run(None, {n: v for n, v in feeds.items() if n in known}))

    return run


def hone_runner(model: str | os.PathLike[str]) -> Runner:
    from ..session import InferenceSession

    session = InferenceSession(model, threads=1)
    known = {i.name for i in session.get_inputs()}

    def run(feeds: Feeds) -> list[Array]:
        return list(session.run(None, {n: v for n, v in feeds.items() if n in known}))

    return run


def _try(make: Callable[[], Runner]) -> tuple[Runner | None, str]:
    try:
        return make(), ""
    except Exception as error:  # whatever a framework raises is the finding
        return None, f"refuses the model: {_line(error)}"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _judge(
    case: str, runtime: str, names: Sequence[str], got: list[Array], want: list[Array]
) -> list[Row]:
    rows = []
    if len(got) != len(want):
        return [Row(case, runtime, "*", np.inf, f"{len(got)} outputs, not {len(want)}")]
    for name, a, b in zip(names, got, want):
        difference, problem = compare(np.asarray(a), np.asarray(b))
        rows.append(Row(case, runtime, name, difference, problem))
    return rows


def prove(
    source: Runner,
    model: str | os.PathLike[str],
    cases: Sequence[tuple[str, Feeds]],
    outputs: Sequence[str],
) -> Proof:
    """Run every case in the source framework, ONNX Runtime and hone, and compare."""
    runners = {
        "onnxruntime": _try(lambda: ort_runner(model)),
        "hone": _try(lambda: hone_runner(model)),
    }
    proof = Proof()
    for case, feeds in cases:
        try:
            want = [np.asarray(v) for v in source(feeds)]
        except Exception as error:
            proof.rows.append(Row(case, "source", "*", 0.0, f"cannot run: {_line(error)}"))
            continue
        for runtime, (run, problem) in runners.items():
            if run is None:
                proof.rows.append(Row(case, runtime, "*", np.inf, problem))
                continue
            try:
                got = run(feeds)
            except Exception as error:
                row = Row(case, runtime, "*", np.inf, f"cannot run: {_line(error)}")
                proof.rows.append(row)
                continue
            proof.rows += _judge(case, runtime, outputs, got, want)
    return proof
