"""The asking side of a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from .job import Absent, Job, Opened, Timed

#: Variables that limit instruction sets: hone's own, oneDNN's, PyTorch's.
ISA_LIMITS = {
    "avx2": {
        "HONE_MAX_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
}


class PeerFailed(Exception):
    """The framework reported an error, or its process died."""


def processors(threads: int) -> set[int]:
    """The last CPUs this process may use: interrupts and the harness prefer the first ones."""
    allowed = sorted(os.sched_getaffinity(0))
    return set(allowed[-threads:])


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Processes started inside run on as many CPUs as they have threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors(threads))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(job: Job) -> dict[str, str]:
    threads = str(job.threads)
    package = str(pathlib.Path(__file__).resolve().parents[2])
    path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH", "")) if p)
    limits = ISA_LIMITS.get(job.isa, {})
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        **limits,
    }


class Peer:
    """A worker with one job. Pinned to as many CPUs as the job has threads."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the peer
        with pinned(job.threads):
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "hone.compare.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment(job),
            )

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed(f"its process ended: {self._last_words()}")
        answer = json.loads(line)
        if "absent" in answer:
            raise Absent(answer["absent"])
        if "failed" in answer:
            raise PeerFailed(answer["failed"])
        result: dict[str, Any] = answer["ok"]
        return result

    def _last_words(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else f"exit status {status}"

    def prepare(self) -> tuple[float, str]:
        """Build what is built ahead of time. Returns milliseconds and what is to be noted."""
        answer = self._ask(do="prepare", job=self.job.to_json())
        return answer["prepare_ms"], answer["note"]

    def open(self, outputs: pathlib.Path | None = None) -> Opened:
        answer = self._ask(do="open", job=self.job.to_json(), outputs=str(outputs or ""))
        return Opened(**answer)

    def time(self, seconds: float, least: int) -> Timed:
        return Timed(**self._ask(do="time", seconds=seconds, least=least))

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
