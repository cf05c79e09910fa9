"""The comparison as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import importlib.resources
from collections.abc import Iterator

from . import charts
from .adapters import TITLES
from .header import facts, method
from .results import OURS, Document, Result
from .tables import (
    PRECISION_TITLES,
    Section,
    Table,
    configuration_title,
    present,
    sections,
)


def _row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"


def _table(table: Table) -> str:
    rows = "".join(_row(row, "td") for row in table.rows)
    notes = "".join(f"<p class=note>{html.escape(n)}</p>" for n in table.notes)
    head = _row(table.heads, "th")
    return (
        f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>{notes}'
    )


def _section(section: Section) -> str:
    text = f"<p>{html.escape(section.text)}</p>" if section.text else ""
    return f"<h3>{html.escape(section.title)}</h3>{text}{_table(section.table)}"


def _figure(title: str, *parts: str) -> str:
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{''.join(parts)}</figure>"


def _speed_charts(document: Document) -> Iterator[str]:
    for key in document.configurations():
        found = document.select(*key)
        title = configuration_title(*key)
        rated = [(r.title, r.ratio.median, r.ratio.p10, r.ratio.p90) for r in found if r.ratio]
        if rated:
            rated.sort(key=lambda row: -row[1])
            caption = f"{title}: how many times faster than the best peer (bar: median; line: p10"
            yield _figure(f"{caption} to p90)", charts.ratio_bars(rated, title))
        names = present(found, document)
        rows = [(r.title, [_latency(r, n) for n in names]) for r in found]
        titles = [TITLES[n] for n in names]
        bars = charts.latency_bars(rows, titles, f"{title}: latency")
        yield _figure(f"{title}: latency, shorter is better", charts.legend(titles), bars)


def _latency(result: Result, framework: str) -> float | None:
    outcome = result.outcomes.get(framework)
    return outcome.latency.median if outcome and outcome.latency else None


def _batch_charts(document: Document) -> Iterator[str]:
    """Latency against throughput, a chart for each model that was measured at several batches."""
    groups = dict.fromkeys((p, t) for p, t, _ in document.configurations())
    for precision, threads in groups:
        for model, title in document.models():
            found = sorted(
                (
                    r
                    for r in document.results
                    if (r.model, r.precision, r.threads) == (model, precision, threads)
                ),
                key=lambda r: r.batch,
            )
            if len(found) < 2:
                continue
            names = present(found, document)
            series = []
            for i, name in enumerate(names):
                pairs = [(r.batch, _latency(r, name)) for r in found]
                line = [
                    (
                        ms,
                        1e3 * b / ms,
                        f"{TITLES[name]}, batch {b}: {ms:.3g} ms, {1e3 * b / ms:.3g} per s",
                    )
                    for b, ms in pairs
                    if ms
                ]
                series.append((i, line))
            chart = charts.lines(series, "latency, ms", "items per second", title)
            caption = f"{title}, {PRECISION_TITLES[precision]}, threads: {threads}"
            yield _figure(caption, charts.legend([TITLES[n] for n in names]), chart)


def _rooflines(document: Document) -> Iterator[str]:
    peaks = document.machine["peaks"][0]
    titles = dict(document.models())
    for key, nodes in document.profiles.items():
        model, precision = key.rsplit(" ", 1)
        peak = {"bf16": "bf16_gflops", "int8": "int8_gops"}.get(precision, "fp32_gflops")
        total = sum(n["ms"] for n in nodes) or 1.0
        layers = [
            charts.Layer(
                f"{n['node']} ({n['op']}, {n['kernel']})",
                2 * n["macs"] / n["bytes"],
                2e-6 * n["macs"] / n["ms"],
                n["ms"] / total,
            )
            for n in nodes
            if n["ms"] > 0
        ]
        title = f"{titles.get(model, model)}, {PRECISION_TITLES[precision]}"
        chart = charts.roofline(layers, peaks[peak], peaks["read_gb_per_s"], title)
        if chart:
            yield _figure(f"{title}, threads: {peaks['threads']}", chart)


def _fold(title: str, figures: list[str]) -> str:
    if not figures:
        return ""
    inside = "".join(figures)
    return f"<h2>{html.escape(title)}</h2><div class=grid2>{inside}</div>"


def render(document: Document, command: str) -> str:
    style = importlib.resources.files(__package__).joinpath("page.css").read_text()
    header = "".join(
        f"<tr><th>{html.escape(n)}</th><td>{html.escape(v)}</td></tr>" for n, v in facts(document)
    )
    body = [
        "<h1>hone and its peers</h1>",
        f"<table class=facts>{header}</table>",
        f"<p class=note>{html.escape(method(document))}</p>",
        f"<p class=note>Made by <code>{html.escape(command)}</code>.</p>",
        "<h2>Speed</h2>",
        *_speed_charts(document),
        _fold("Latency against throughput, by batch", list(_batch_charts(document))),
        _fold(f"Roofline by layer ({OURS})", list(_rooflines(document))),
        "<h2>Tables</h2>",
        *map(_section, sections(document)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>hone and its peers</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
