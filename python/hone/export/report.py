"""The report of an export, as Markdown and as HTML."""

from __future__ import annotations

import html
import os
import pathlib
import shlex
import shutil
import sys

from .files import size
from .result import Export

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
    ".bad{color:#b00020;font-weight:bold}"
)

#: where Netron serves a model unless told otherwise
NETRON = "http://localhost:8080"

Table = tuple[list[str], list[list[str]]]


def proof_table(result: Export) -> Table:
    assert result.proof is not None
    head = ["sizes", "runtime", "output", "greatest difference", "verdict"]
    rows = [
        [r.case, r.runtime, r.output, f"{r.difference:.1e}", r.problem or "equal"]
        for r in result.proof.rows
    ]
    return head, rows


def measure_table(result: Export) -> Table:
    head = ["runtime", "latency (median), ms", "load, ms", "memory, MB"]
    rows = [
        [
            m.runtime,
            f"{m.latency_ms:.3f}",
            f"{m.load_ms:.1f}" if m.load_ms else "-",
            f"{m.memory_bytes / 1e6:.1f}" if m.memory_bytes else "-",
        ]
        for m in result.measures
    ]
    return head, rows


def facts(result: Export) -> list[str]:
    lines = [
        f"source: {result.source}, exporter: {result.exporter}",
        f"size: {size(result.path) / 1e6:.2f} MB;"
        f" nodes: {result.n_nodes[0]} exported, {result.n_nodes[1]} after hone's passes",
    ]
    if result.proof is not None:
        problems = len(result.proof.problems)
        lines.append(
            f"proof: {len(result.proof.rows)} comparisons, "
            + (f"{problems} differ" if problems else "all equal")
            + f" (greatest relative difference {result.proof.greatest:.1e})"
        )
        if result.proof.first:
            lines.append(f"first difference: {result.proof.first}")
    lines += [f"note: {r}" for r in result.remarks]
    lines += [f"check: {f}" for f in result.findings]
    return lines


def _netron(path: pathlib.Path) -> str:
    """The command that opens the model in Netron, or "" where that is not installed."""
    found = shutil.which("netron") or shutil.which("netron", path=os.path.dirname(sys.executable))
    if not found:
        return ""
    program = "netron" if shutil.which("netron") else shlex.quote(found)
    return f"{program} --browse {shlex.quote(path.name)}"


def cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def markdown(result: Export) -> str:
    parts = [f"# Export of {result.path.name}\n", *(f"- {f}" for f in facts(result)), ""]
    for title, (head, rows) in (
        ("Proof", proof_table(result)),
        ("Figures", measure_table(result)),
    ):
        if not rows:
            continue
        parts += [f"## {title}\n", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        parts += [f"| {' | '.join(map(cell, row))} |" for row in rows]
        parts.append("")
    if result.diagnoses:
        parts += ["## Diagnoses\n", "```", *(d.text() for d in result.diagnoses), "```", ""]
    if _netron(result.path):
        command = _netron(result.path)
        parts += [f"Look at the graph: `{command}`, then [open Netron]({NETRON}).", ""]
    return "\n".join(parts)


def _html_table(table: Table) -> str:
    head, rows = table
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in head) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>")
    return "\n".join([*lines, "</table>"])


def page(result: Export) -> str:
    name = html.escape(result.path.name)
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Export of {name}</title>",
        f"<style>{_STYLE}</style><h1>Export of {name}</h1><ul>",
        *(f"<li>{html.escape(f)}" for f in facts(result)),
        "</ul><h2>Proof</h2>",
        _html_table(proof_table(result)),
    ]
    if result.measures:
        parts += ["<h2>Figures</h2>", _html_table(measure_table(result))]
    if result.diagnoses:
        text = "\n".join(d.text() for d in result.diagnoses)
        parts.append(f"<h2>Diagnoses</h2><pre>{html.escape(text)}</pre>")
    if _netron(result.path):
        command = html.escape(_netron(result.path))
        parts.append(
            f"<p>Look at the graph: <code>{command}</code>, then"
            f' <a href="{NETRON}">open Netron</a>.</p>'
        )
    return "\n".join(parts) + "\n"


def write(result: Export) -> None:
    """Write both beside the model."""
    for suffix, make in ((".md", markdown), (".html", page)):
        path = result.path.with_suffix(suffix)
        path.write_text(make(result), encoding="utf-8")
        result.reports.append(path)
