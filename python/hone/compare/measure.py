"""One configuration of one model: check the outputs, then time all frameworks by turns."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import random
from collections.abc import Callable, Sequence

import numpy as np

from . import arrays
from .agreement import TOLERANCE, Outputs, choose_anchor, difference, in_order_of
from .cases import Case
from .job import Absent, Job, Opened
from .peer import Peer, PeerFailed
from .results import OURS, Outcome, Result
from .statistics import fastest, ratios, spread

#: Loading PyTorch takes seconds: once is enough.
SLOW_TO_LOAD = ("torch", "torch-compile")

Report = Callable[[float, str], None]  #: progress: fraction, what


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 5
    seconds: float = 0.5  #: of each framework in each round
    least: int = 3  #: runs in a round, however long they take
    loads: int = 3  #: cold processes for load time and memory


@dataclasses.dataclass(frozen=True)
class Setting:
    """One configuration."""

    case: Case
    precision: str
    threads: int
    batch: int
    tune: str
    isa: str
    work: pathlib.Path

    @property
    def label(self) -> str:
        return f"{self.precision}-t{self.threads}-b{self.batch}"

    def job(self, framework: str) -> Job:
        case, batch = self.case, self.batch
        feeds = self.work / f"{case.name}-b{batch}.npz"
        if not feeds.exists():
            arrays.save(feeds, case.feeds(batch))
        return Job(
            framework=framework,
            model=str(case.path.resolve()),
            precision=self.precision,
            threads=self.threads,
            batch=batch,
            shapes=case.shapes(batch),
            symbols=case.symbols(batch),
            feeds=str(feeds),
            work=str(self.work),
            tune=self.tune,
            isa=self.isa,
        )


@dataclasses.dataclass
class Contender:
    """A framework while it is compared."""

    job: Job
    outcome: Outcome = dataclasses.field(default_factory=lambda: Outcome("ok"))
    loads: list[Opened] = dataclasses.field(default_factory=list)
    outputs: Outputs = ()
    peer: Peer | None = None

    @property
    def is_ok(self) -> bool:
        return self.outcome.status == "ok"


@contextlib.contextmanager
def _noting(contender: Contender):  # type: ignore[no-untyped-def]
    """What goes wrong with one framework is its result, and no reason to stop."""
    try:
        yield
    except Absent as reason:
        contender.outcome = Outcome("absent", str(reason))
    except PeerFailed as reason:
        contender.outcome = Outcome("failed", str(reason))


def _prepare(contender: Contender) -> None:
    with _noting(contender), Peer(contender.job) as peer:
        contender.outcome.prepare_ms, contender.outcome.note = peer.prepare()


def _open(contender: Contender, stays: bool, folder: pathlib.Path) -> None:
    """A cold process; the last one stays and is timed."""
    with _noting(contender), contextlib.ExitStack() as stack:
        peer = stack.enter_context(Peer(contender.job))
        path = folder / f"{contender.job.framework}.npz" if stays else None
        contender.loads.append(peer.open(path))
        if path:
            contender.outputs = list(arrays.load(path).values())
            path.unlink()
            contender.peer = peer
            stack.pop_all()


Anchor = tuple[str, Outputs]  #: whose outputs, and these


def _check(contenders: dict[str, Contender], anchor: Anchor | None, result: Result) -> None:
    """Those whose outputs are not the anchor's are wrong, however fast."""
    outputs = {name: c.outputs for name, c in contenders.items() if c.is_ok}
    tolerance = TOLERANCE[result.precision]
    if anchor is None and outputs:
        name = choose_anchor(outputs, tolerance)
        anchor = name, outputs[name]
    if anchor is None:
        return
    result.anchor, want = anchor
    for name, found in outputs.items():
        outcome = contenders[name].outcome
        outcome.error = difference(in_order_of(name, found, want), want).largest
        if not outcome.error <= tolerance:
            outcome.status = "wrong"
            outcome.reason = (
                f"outputs differ from {result.anchor}'s by {outcome.error:.2g} of the largest"
                f" value; {tolerance:g} is allowed"
            )


def _summarise(contender: Contender) -> None:
    outcome, loads = contender.outcome, contender.loads
    if not loads or outcome.status not in ("ok", "wrong"):
        return
    middle = {
        f.name: float(np.median([getattr(o, f.name) for o in loads]))
        for f in dataclasses.fields(Opened)
        if f.name not in ("version", "note")
    }
    outcome.note = outcome.note or loads[-1].note
    outcome.import_ms, outcome.load_ms = middle["import_ms"], middle["load_ms"]
    outcome.first_ms = middle["first_ms"]
    outcome.peak_bytes, outcome.disk_bytes = int(middle["peak_bytes"]), int(middle["disk_bytes"])
    if outcome.rounds_ms:
        outcome.latency = spread(outcome.rounds_ms)


def rate(result: Result) -> None:
    """Who is the best peer, and by how much are we faster in each round."""
    peers = {n: o.rounds_ms for n, o in result.outcomes.items() if n != OURS and o.rounds_ms}
    ours = result.outcomes.get(OURS)
    result.best_peer = fastest(peers)
    if result.best_peer and ours and ours.rounds_ms:
        result.ratio = ratios(peers[result.best_peer], ours.rounds_ms)


def _time(contenders: dict[str, Contender], effort: Effort, report: Report) -> None:
    """Rounds: every framework once in each, in a new order, so that noise hits all alike."""
    order = [name for name, c in contenders.items() if c.is_ok]
    rng = random.Random(0)
    for i in range(effort.rounds):
        rng.shuffle(order)
        for name in order:
            contender = contenders[name]
            if not contender.is_ok or contender.peer is None:
                continue
            report(0.4 + 0.6 * i / effort.rounds, f"round {i + 1} of {effort.rounds}: {name}")
            with _noting(contender):
                timed = contender.peer.time(effort.seconds, effort.least)
                contender.outcome.rounds_ms.append(timed.median_ms)


def compare(
    setting: Setting,
    frameworks: Sequence[str],
    effort: Effort,
    report: Report,
    anchor: Anchor | None = None,
) -> tuple[Result, dict[str, str], dict[str, Outputs]]:
    """Returns the result, versions, and the outputs of those that ran."""
    case = setting.case
    result = Result(case.name, case.title, setting.precision, setting.threads, setting.batch)
    contenders = {name: Contender(setting.job(name)) for name in frameworks}
    try:
        for name, contender in contenders.items():
            report(0.0, f"building: {name}")
            _prepare(contender)
        for i in range(effort.loads):
            for name, contender in contenders.items():
                is_last = i == effort.loads - 1
                if contender.is_ok and (is_last or name not in SLOW_TO_LOAD):
                    report(0.1 + 0.3 * i / effort.loads, f"loading: {name}")
                    _open(contender, is_last, setting.work)
        _check(contenders, anchor, result)
        _time(contenders, effort, report)
    finally:
        for contender in contenders.values():
            if contender.peer:
                contender.peer.close()
    for name, contender in contenders.items():
        _summarise(contender)
        result.outcomes[name] = contender.outcome
    rate(result)
    versions = {n: c.loads[-1].version for n, c in contenders.items() if c.loads}
    return result, versions, {n: c.outputs for n, c in contenders.items() if c.outputs}
