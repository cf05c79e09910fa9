"""What stands above the tables: the machine, the versions, how it was measured."""

from __future__ import annotations

from .adapters import TITLES
from .results import Document


def _peak(facts: dict[str, float]) -> str:
    parts = [f"FP32 {facts['fp32_gflops']:.0f} GFLOP/s"]
    if facts["bf16_gflops"]:
        parts.append(f"BF16 {facts['bf16_gflops']:.0f} GFLOP/s")
    if facts["int8_gops"]:
        parts.append(f"INT8 {facts['int8_gops']:.0f} GOP/s")
    parts.append(f"read {facts['read_gb_per_s']:.0f} GB/s")
    return ", ".join(parts)


def facts(document: Document) -> list[tuple[str, str]]:
    """Names and values."""
    m = document.machine
    clock = f", {m['clock_mhz'] / 1e3:.2f} GHz" if m["clock_mhz"] else ""
    quota = f"{m['quota_cpus']:g} CPUs" if m["quota_cpus"] else "none"
    limit = f", limited to {m['isa_limit']}" if m["isa_limit"] else ""
    made = [
        ("date", m["date"]),
        ("CPU", f"{m['cpu']}{clock}; {m['cpus']} usable; instruction set {m['isa']}{limit}"),
        ("cgroup quota", quota),
        ("memory", f"{m['memory_gib']} GiB"),
        ("system", f"{m['system']}, Python {m['python']}; load average {m['load_average']} before"),
    ]
    made += [(f"measured peak, {p['threads']} threads", _peak(p)) for p in m["peaks"]]
    versions = (f"{TITLES[n]} {v}" for n, v in document.versions.items())
    return [*made, ("versions", ", ".join(versions))]


def method(document: Document) -> str:
    s = document.settings
    return (
        f"Every framework runs in a process of its own, pinned to the same CPUs, on the same seeded"
        f" inputs, which are bound before. Outputs are compared first; who differs is reported as"
        f" wrong and not timed. Then {s['rounds']} rounds: in each, in changing order, every"
        f" framework runs for {s['seconds']:g} s (at least {s['least']} times) after a warm-up. A"
        f" round's latency is the median of its runs; the tables have the median of the rounds. A"
        f" round's ratio is the latency of the best peer (who has the lowest median) divided by"
        f" hone's; ratio, p10 and p90 are over the rounds."
    )
