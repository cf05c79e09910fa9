"""Errors of all frameworks against the model in FP64."""

from __future__ import annotations

import math
import os
import pathlib
import subprocess
import sys

from . import arrays
from .agreement import Outputs, difference, in_order_of
from .cases import Case
from .results import Accuracy, Document


def reference_outputs(case: Case, batch: int, work: pathlib.Path) -> Outputs | None:
    """In a process of its own, for its memory; kept in the work folder. None: it cannot be had."""
    path = work / f"{case.name}-b{batch}-reference.npz"
    if not path.exists() or path.stat().st_mtime < case.path.stat().st_mtime:
        feeds = work / f"{case.name}-b{batch}-reference-feeds.npz"
        arrays.save(feeds, case.feeds(batch))
        package = str(pathlib.Path(__file__).resolve().parents[2])
        command = [sys.executable, "-W", "ignore", "-m", "hone.compare.reference"]
        done = subprocess.run(
            [*command, str(case.path), str(feeds), str(path)],
            env={**os.environ, "PYTHONPATH": package},
            capture_output=True,
            text=True,
            check=False,
        )
        feeds.unlink()
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            print(f"hone: no FP64 reference of {case.name}: {last}", file=sys.stderr)
            return None
    return list(arrays.load(path).values())


def record(
    document: Document, case: Case, precision: str, outputs: dict[str, Outputs], wanted: Outputs
) -> None:
    """Put the errors of one configuration into the document."""
    document.accuracy = [
        a for a in document.accuracy if (a.model, a.precision) != (case.name, precision)
    ]
    for framework, got in outputs.items():
        error = difference(in_order_of(framework, got, wanted), wanted)
        known = (error.largest, error.mean) if math.isfinite(error.largest) else (None, None)
        document.accuracy.append(Accuracy(case.name, case.title, framework, precision, *known))
