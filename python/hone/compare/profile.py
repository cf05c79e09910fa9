"""Where hone's time goes, layer by layer: for the roofline."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from .._program import find_program
from .adapters.engine import engine_path
from .measure import Setting
from .peer import ISA_LIMITS, pinned
from .results import OURS, Document

KEPT = ("node", "op", "kernel", "ms", "macs", "bytes")


def layers(setting: Setting) -> list[dict[str, Any]]:
    """Nodes that multiply, of the engine that was compared."""
    command = [find_program(), "profile", str(engine_path(setting.job(OURS))), "--json"]
    command += ["--threads", str(setting.threads), "--runs", "5"]
    with pinned(setting.threads):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **ISA_LIMITS.get(setting.isa, {})},
        )
    if done.returncode:
        return []
    nodes = json.loads(done.stdout)["nodes"]
    return [{key: n[key] for key in KEPT} for n in nodes if n["macs"] > 0 and n["bytes"] > 0]


def record(document: Document, setting: Setting) -> None:
    found = layers(setting)
    if found:
        document.profiles[f"{setting.case.name} {setting.precision}"] = found
