"""What a worker is asked to open, and what it answers."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Job:
    """One model in one configuration, for one framework."""

    framework: str
    model: str  #: the ONNX file; other formats lie beside it, with the same stem
    precision: str  #: fp32, bf16 or int8
    threads: int
    batch: int
    shapes: dict[str, list[int]]
    symbols: dict[str, int]  #: sizes of the model's named dims
    feeds: str  #: an .npz file: the inputs, by name
    work: str  #: folder for what is built
    tune: str = "full"  #: how long hone's builder may look for kernels
    isa: str = ""  #: the instruction set that everything is limited to; "" for none

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Opened:
    """What opening a model took."""

    version: str
    note: str  #: what a reader should know about this measurement
    import_ms: float  #: loading the framework itself, not counted with the model
    load_ms: float  #: from the file to a session
    first_ms: float  #: the first run
    peak_bytes: int  #: resident memory at its highest, after the first runs
    disk_bytes: int  #: what must be shipped to run the model


@dataclasses.dataclass(frozen=True)
class Timed:
    """Latencies of one round, in milliseconds."""

    median_ms: float
    p90_ms: float
    runs: int


class Absent(Exception):
    """The framework, or what it needs for this job, is not there. The text says why."""
