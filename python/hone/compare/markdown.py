"""The comparison as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from .header import facts, method
from .results import Document
from .tables import Table, sections


def escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(escape, table.heads)) + " |"
    yield "|---" + "|---:" * (len(table.heads) - 1) + "|"
    for row in table.rows:
        yield "| " + " | ".join(map(escape, row)) + " |"
    for note in table.notes:
        yield ""
        yield escape(note)


def render(document: Document, command: str) -> str:
    lines = ["# Benchmarks", "", f"Made by `{command}`.", "", "| | |", "|---|---|"]
    lines += [f"| {escape(name)} | {escape(value)} |" for name, value in facts(document)]
    lines += ["", method(document)]
    for section in sections(document):
        lines += ["", f"## {section.title}", ""]
        if section.text:
            lines += [section.text, ""]
        lines += _table(section.table)
    return "\n".join(lines) + "\n"
