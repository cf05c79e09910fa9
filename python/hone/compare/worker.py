"""The process of one framework: `python -m hone.compare.worker`, asked by lines of JSON.

Requests come on stdin, answers go to what was stdout; what frameworks print goes to stderr. Each
worker holds one model, so that its memory, load time and caches are its own.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from . import arrays
from .adapters import Adapter, adapter_class
from .job import Absent, Job, Opened, Timed

WARM_UP_SHARE = 0.1


def peak_bytes() -> int:
    """The most resident memory this process ever had."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - start) * 1e-6


class Worker:
    def __init__(self) -> None:
        self.adapter: Adapter | None = None
        self.import_ms = 0.0

    def make(self, request: dict[str, Any]) -> Adapter:
        job = Job(**request["job"])
        start = time.perf_counter_ns()
        try:
            kind = adapter_class(job.framework)
        except ImportError as error:
            raise Absent(f"not installed ({error})") from None
        self.import_ms = (time.perf_counter_ns() - start) * 1e-6
        adapter = kind(job)
        adapter.check()
        return adapter

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        adapter = self.make(request)
        return {"prepare_ms": timed(adapter.prepare), "note": adapter.note}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Load, run twice, and write the outputs of the second run where asked."""
        self.adapter = adapter = self.make(request)
        feeds = arrays.load(pathlib.Path(adapter.job.feeds))
        load_ms = timed(adapter.load)
        bind_ms = timed(lambda: adapter.bind(feeds))
        first_ms = timed(adapter.run)
        adapter.run()
        peak = peak_bytes()
        if request["outputs"]:
            outputs = [np.asarray(value) for value in adapter.outputs()]
            arrays.save(pathlib.Path(request["outputs"]), outputs)
        opened = Opened(
            version=adapter.version(),
            note=adapter.note,
            import_ms=self.import_ms,
            load_ms=load_ms + bind_ms,
            first_ms=first_ms,
            peak_bytes=peak,
            disk_bytes=adapter.disk_bytes(),
        )
        return dataclasses.asdict(opened)

    def time(self, request: dict[str, Any]) -> dict[str, Any]:
        """One round: warm up, then run for some seconds, and some times at least."""
        assert self.adapter is not None
        run, seconds, least = self.adapter.run, request["seconds"], request["least"]
        gc.collect()
        gc.disable()
        warm_until = time.perf_counter() + seconds * WARM_UP_SHARE
        run()
        while time.perf_counter() < warm_until:
            run()
        times: list[float] = []
        until = time.perf_counter() + seconds
        while len(times) < least or time.perf_counter() < until:
            times.append(timed(run))
        gc.enable()
        median, p90 = np.percentile(times, [50, 90])
        return dataclasses.asdict(Timed(float(median), float(p90), len(times)))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        do = {"prepare": self.prepare, "open": self.open, "time": self.time}[request["do"]]
        try:
            return {"ok": do(request)}
        except Absent as reason:
            return {"absent": str(reason)}
        except Exception as error:  # of any framework: they share no base class
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return {"failed": " ".join(lines)[:300] or type(error).__name__}


def take_stdout() -> IO[str]:
    """What was stdout, for answers only; file descriptor 1 becomes stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def main() -> int:
    answers = take_stdout()
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)
    answers.close()
    sys.stderr.flush()
    os._exit(0)  # frameworks may hang or crash while they are torn down


if __name__ == "__main__":
    sys.exit(main())
