"""The comparison on a terminal: a progress line, aligned tables."""

from __future__ import annotations

import shutil
import sys
import time

from .header import facts
from .results import Document
from .tables import Table, sections

BAR = 24


class Progress:
    """A bar on stderr when that is a terminal; a line for each finished step when it is not."""

    def __init__(self, total: int) -> None:
        self.total, self.done = max(total, 1), 0
        self.label = ""
        self.start = time.monotonic()
        self.is_live = sys.stderr.isatty()

    def begin(self, label: str) -> None:
        self.label = label
        self.show(0.0, "")

    def show(self, fraction: float, what: str) -> None:
        if not self.is_live:
            return
        whole = min((self.done + fraction) / self.total, 1.0)
        passed = time.monotonic() - self.start
        left = f"{passed * (1 - whole) / whole / 60:.0f} min left" if whole > 0.02 else ""
        bar = "#" * round(BAR * whole)
        line = f"[{bar:{BAR}}] {100 * whole:3.0f} % {left} {self.label} {what}"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{line[:width]}")
        sys.stderr.flush()

    def finish(self, summary: str) -> None:
        """One step is done."""
        self.done += 1
        self.clear()
        print(f"[{self.done}/{self.total}] {self.label}: {summary}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.is_live:
            sys.stderr.write("\r\x1b[K")


def align(table: Table) -> str:
    rows = [table.heads, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.heads))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines + table.notes)


def render(document: Document) -> str:
    width = max(len(name) for name, _ in facts(document))
    parts = ["\n".join(f"{name:{width}}  {value}" for name, value in facts(document))]
    for section in sections(document):
        text = f"{section.text}\n" if section.text else ""
        parts.append(f"{section.title}\n{text}\n{align(section.table)}")
    return "\n\n".join(parts)
