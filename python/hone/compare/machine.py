"""What the measurements were made on."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from .._program import find_program
from .peer import ISA_LIMITS, pinned


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def clock_mhz(cpuinfo: str) -> float | None:
    """The fastest clock the system reports right now."""
    found = [line for line in cpuinfo.splitlines() if line.startswith("cpu MHz")]
    return max((float(line.split(":")[1]) for line in found), default=None)


def quota_cpus(cpu_max: str) -> float | None:
    """CPUs that a cgroup grants, from its cpu.max; None: no limit."""
    words = cpu_max.split()
    if len(words) != 2 or not words[0].isdigit():
        return None
    return int(words[0]) / int(words[1])


def memory_gib(meminfo: str) -> float | None:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def measure_peaks(threads: Sequence[int], isa: str) -> list[dict[str, Any]]:
    """`hone peak` for each number of threads, on the CPUs that the comparison uses."""
    env = {**os.environ, **ISA_LIMITS.get(isa, {})}
    peaks = []
    for n in threads:
        command = [find_program(), "peak", "--threads", str(n), "--json"]
        with pinned(n):
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        peaks.append(json.loads(done.stdout))
    return peaks


def describe(threads: Sequence[int], isa: str) -> dict[str, Any]:
    peaks = measure_peaks(threads, isa)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": peaks[0]["cpu"],
        "isa": peaks[0]["isa"],
        "isa_limit": isa,
        "clock_mhz": clock_mhz(_read("/proc/cpuinfo")),
        "cpus": len(os.sched_getaffinity(0)),
        "quota_cpus": quota_cpus(_read("/sys/fs/cgroup/cpu.max")),
        "memory_gib": memory_gib(_read("/proc/meminfo")),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "peaks": peaks,
    }
