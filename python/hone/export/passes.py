"""hone's passes over an exported model, and which of them changes what it gives."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
from collections.abc import Callable

from .._program import find_program

#: more applications of passes than any model needs
_MOST = 4096


@dataclasses.dataclass
class Applied:
    """What became of a run of the passes."""

    names: list[str] = dataclasses.field(default_factory=list)  #: passes that changed something
    problem: str = ""  #: why nothing was written, or ""


def optimize(source: pathlib.Path, target: pathlib.Path, stop_at: int | None = None) -> Applied:
    """Run hone's passes; with stop_at, the first so many applications of them, not verified."""
    command = [find_program(), "optimize", str(source), "-o", str(target), "--json"]
    if stop_at is not None:
        command += ["--no-verify", "--stop-at", str(stop_at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["hone optimize failed"]
        return Applied(problem=lines[0])
    return Applied([p["name"] for p in json.loads(done.stdout)["passes"]])


def first_bad(is_bad: Callable[[int], bool], most: int = _MOST) -> int:
    """The smallest n that is bad where n - 1 is not, by bisection; 0: none is bad up to most."""
    good, bad = 0, 8
    while not is_bad(bad):
        good, bad = bad, 2 * bad
        if good >= most:
            return 0
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if is_bad(middle) else (middle, bad)
    return bad
