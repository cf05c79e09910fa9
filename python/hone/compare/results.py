"""What a comparison found: the document that all reports are made from, kept as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from .statistics import Spread

SCHEMA = 1
OURS = "hone"


@dataclasses.dataclass
class Outcome:
    """One framework in one configuration. Times in milliseconds."""

    status: str  #: ok, wrong, absent or failed
    reason: str = ""  #: why it is not ok
    note: str = ""
    error: float | None = None  #: the largest, against the anchor
    rounds_ms: list[float] = dataclasses.field(default_factory=list)  #: median of each round
    latency: Spread | None = None
    prepare_ms: float | None = None
    import_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    peak_bytes: int | None = None
    disk_bytes: int | None = None

    @property
    def to_first_ms(self) -> float | None:
        if self.load_ms is None or self.first_ms is None:
            return None
        return self.load_ms + self.first_ms


@dataclasses.dataclass
class Result:
    """All frameworks in one configuration."""

    model: str
    title: str
    precision: str
    threads: int
    batch: int
    anchor: str = ""  #: whose outputs the others were compared with
    outcomes: dict[str, Outcome] = dataclasses.field(default_factory=dict)
    best_peer: str | None = None
    ratio: Spread | None = None  #: best peer's time / ours, over the rounds

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.model, self.precision, self.threads, self.batch


@dataclasses.dataclass
class Accuracy:
    """Errors against a reference in FP64, relative to each output's largest value."""

    model: str
    title: str
    framework: str
    precision: str
    largest: float | None  #: None: another shape, or not a number
    mean: float | None


@dataclasses.dataclass
class Document:
    machine: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    results: list[Result] = dataclasses.field(default_factory=list)
    accuracy: list[Accuracy] = dataclasses.field(default_factory=list)
    profiles: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    schema: int = SCHEMA

    def find(self, key: tuple[str, str, int, int]) -> Result | None:
        return next((r for r in self.results if r.key == key), None)

    def put(self, result: Result) -> None:
        self.results = [r for r in self.results if r.key != result.key] + [result]

    def models(self) -> list[tuple[str, str]]:
        """Names and titles, in the order measured."""
        return list(dict.fromkeys((r.model, r.title) for r in self.results))

    def select(self, precision: str, threads: int, batch: int) -> list[Result]:
        wanted = (precision, threads, batch)
        return [r for r in self.results if (r.precision, r.threads, r.batch) == wanted]

    def configurations(self) -> list[tuple[str, int, int]]:
        found = dict.fromkeys((r.precision, r.threads, r.batch) for r in self.results)
        order = {"fp32": 0, "bf16": 1, "int8": 2}
        return sorted(found, key=lambda c: (order.get(c[0], 3), c[2], c[1]))

    def frameworks(self, results: Sequence[Result] | None = None) -> list[str]:
        names = [n for r in (self.results if results is None else results) for n in r.outcomes]
        return sorted(dict.fromkeys(names), key=lambda n: n != OURS)

    def write(self, path: pathlib.Path) -> None:
        text = json.dumps(_finite(dataclasses.asdict(self)), indent=1)
        part = path.with_name(path.name + ".part")
        part.write_text(text + "\n")
        part.replace(path)


def _finite(value: Any) -> Any:
    """JSON has no infinity: null stands for it. Six digits are more than a measurement has."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _spread(facts: dict[str, float] | None) -> Spread | None:
    return Spread(**facts) if facts else None


def _outcome(facts: dict[str, Any]) -> Outcome:
    return Outcome(**{**facts, "latency": _spread(facts["latency"])})


def _result(facts: dict[str, Any]) -> Result:
    outcomes = {name: _outcome(o) for name, o in facts["outcomes"].items()}
    return Result(**{**facts, "outcomes": outcomes, "ratio": _spread(facts["ratio"])})


def read(path: pathlib.Path) -> Document:
    """Raises ValueError when the file is something else."""
    facts = json.loads(path.read_text())
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise ValueError(f"{path} has no results of this version of hone compare")
    return Document(
        machine=facts["machine"],
        settings=facts["settings"],
        versions=facts["versions"],
        results=[_result(r) for r in facts["results"]],
        accuracy=[Accuracy(**a) for a in facts["accuracy"]],
        profiles=facts["profiles"],
    )
