"""The program `hone`: its facts about models as Python values, and its command."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from ._native import HoneError, find_library


def find_program() -> str:
    """The program that was installed, or built, together with the library."""
    library = find_library()
    for place in (library.parent / "hone", library.parents[1] / "bin" / "hone"):
        if place.is_file() and os.access(place, os.X_OK):
            return str(place)
    found = shutil.which("hone")
    # The command that pip installs is main() below, which would only come back here.
    if found and pathlib.Path(found).read_bytes()[:4] == b"\x7fELF":
        return found
    raise HoneError(f"the program 'hone' is missing beside {library}; run make")


def _report(verb: str, path: str | os.PathLike[str], *options: str) -> dict[str, Any]:
    command = [find_program(), verb, "--json", *options, os.fspath(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise HoneError(done.stderr.strip() or f"hone {verb} printed nothing") from None
    assert isinstance(report, dict)
    return report


def inspect(path: str | os.PathLike[str], *, signature: str | None = None) -> dict[str, Any]:
    """Facts about a model file: inputs, outputs, operators, parameters, work and memory.

    Args:
        signature: which of a .tflite file's graphs, by the key of its signature; None: the first.
    """
    return _report("inspect", path, *([] if signature is None else [f"--signature={signature}"]))


def check(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Everything wrong with a model file.

    Returns:
        A dict for each finding: severity, reason, node, op, message and cure.
    """
    findings = _report("check", path)["findings"]
    assert isinstance(findings, list)
    return findings


def main() -> None:
    """The command `hone`. Verbs that are written in Python come back to this interpreter."""
    program = find_program()
    os.environ.setdefault("HONE_PYTHON", sys.executable)
    os.execv(program, [program, *sys.argv[1:]])
