"""Latency, size and memory of a model in the runtimes."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import time
from collections.abc import Callable

from .inputs import Feeds
from .proof import Runner


@dataclasses.dataclass
class Measure:
    """One runtime's figures."""

    runtime: str
    latency_ms: float  #: median
    load_ms: float = 0.0
    memory_bytes: int = 0  #: greatest growth of resident memory over load and runs


_CLEAR = pathlib.Path("/proc/self/clear_refs")
_STATUS = pathlib.Path("/proc/self/status")


def _memory(field: str) -> int:
    """Resident memory now (VmRSS) or at its peak (VmHWM), in bytes; 0 where not known."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(s.split()[1]) * 1024 for s in lines if s.startswith(field + ":")), 0)


def _reset_peak() -> bool:
    try:
        _CLEAR.write_text("5")  # proc(5): sets the peak to what is resident now
    except OSError:
        return False
    return True


def latency(run: Runner, feeds: Feeds, seconds: float = 0.5, least: int = 3) -> float:
    """Median of runs that take about so many seconds, in milliseconds."""
    run(feeds)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < least or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run(feeds)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measure(
    runtime: str,
    feeds: Feeds,
    seconds: float,
    run: Runner | None = None,
    load: Callable[[], Runner] | None = None,
) -> Measure:
    """Figures of a runner that is there already, or of one that load makes."""
    can_reset = _reset_peak()
    before = _memory("VmRSS")
    begin = time.perf_counter()
    ready = run or (load() if load else None)
    assert ready is not None
    load_ms = (time.perf_counter() - begin) * 1e3
    result = Measure(runtime, latency(ready, feeds, seconds), 0.0 if run else load_ms)
    if can_reset:
        result.memory_bytes = max(0, _memory("VmHWM") - before)
    return result
