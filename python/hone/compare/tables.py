"""Tables of a comparison, as text cells: what the terminal, Markdown and HTML print alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from .adapters import TITLES
from .results import OURS, Accuracy, Document, Outcome, Result
from .statistics import geometric_mean

PRECISION_TITLES = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}


@dataclasses.dataclass
class Table:
    """The first column is text; the others are numbers, aligned right."""

    heads: list[str]
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Section:
    title: str
    text: str
    table: Table


def number(value: float | None, digits: int = 3) -> str:
    """With as many digits after the point as leave `digits` significant ones, two at most."""
    if value is None:
        return "-"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{min(2, max(0, digits - whole))}f}"


def _millis(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return number(outcome.latency.median) if outcome.latency else outcome.status


def _plural(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def configuration_title(precision: str, threads: int, batch: int) -> str:
    return f"{PRECISION_TITLES[precision]}, {_plural(threads, 'thread')}, batch {batch}"


def present(results: list[Result], document: Document) -> list[str]:
    """Frameworks that did anything but be absent."""
    return [
        name
        for name in document.frameworks(results)
        if any(r.outcomes[name].status != "absent" for r in results if name in r.outcomes)
    ]


def speed_table(document: Document, results: list[Result]) -> Table:
    """Milliseconds of a run, and the ratio to the best peer."""
    names = present(results, document)
    heads = ["model", *(f"{TITLES[n]} ms" for n in names), "best peer", "ratio", "p10", "p90"]
    table = Table(heads)
    for result in results:
        ratio = result.ratio
        table.rows.append(
            [
                result.title,
                *(_millis(result.outcomes.get(n)) for n in names),
                TITLES[result.best_peer] if result.best_peer else "-",
                *(
                    number(v)
                    for v in ((ratio.median, ratio.p10, ratio.p90) if ratio else (None,) * 3)
                ),
            ]
        )
    rated = [(r.ratio.median, r.title) for r in results if r.ratio]
    if rated:
        mean = geometric_mean([v for v, _ in rated])
        table.notes.append(
            f"Geometric mean of the ratios: {mean:.2f} over {_plural(len(rated), 'model')};"
            f" worst {min(rated)[0]:.2f} ({min(rated)[1]}), best {max(rated)[0]:.2f}"
            f" ({max(rated)[1]})."
        )
    table.notes += list(_troubles(results))
    return table


def _troubles(results: list[Result]) -> Iterator[str]:
    """Why cells have no number."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        for name, outcome in result.outcomes.items():
            if outcome.status != "ok":
                key = (name, outcome.status, outcome.reason.replace(result.model, "NAME"))
                reasons.setdefault(key, []).append(result.title)
            elif outcome.note:
                reasons.setdefault((name, "note", outcome.note), []).append(result.title)
    for (name, status, reason), titles in reasons.items():
        where = "" if len(titles) == len(results) else f" ({', '.join(titles)})"
        said = "" if status == "note" else f"{status}: "
        yield f"{TITLES[name]}: {said}{reason}{where}"


def peer_table(
    document: Document, results: list[Result], value: Callable[[Outcome], float | None], last: str
) -> Table:
    """A number of each framework; in the last column the least of the peers / ours."""
    names = present(results, document)
    table = Table(["model", *(TITLES[n] for n in names), last])
    for result in results:
        found = {n: value(o) for n, o in result.outcomes.items()}
        peers = [v for n, v in found.items() if n != OURS and v is not None]
        ours = found.get(OURS)
        ratio = min(peers) / ours if peers and ours else None
        table.rows.append([result.title, *(number(found.get(n)) for n in names), number(ratio)])
    return table


def start_sections(document: Document, results: list[Result], title: str) -> Iterator[Section]:
    """From the file to the first result, peak memory, size on disk."""
    text = (
        "Milliseconds from the file to the first result, the framework itself loaded before:"
        " medians of cold processes, warm page cache. hone loads an engine that was built before."
        " The last column: the fastest peer's time / ours."
    )
    table = peer_table(document, results, lambda o: o.to_first_ms, "ratio")
    yield Section(f"{title}: load to first result", text, table)
    text = (
        "MiB of resident memory at its highest, Python and the framework included; the leanest"
        " peer's / ours."
    )
    table = peer_table(document, results, lambda o: _mib(o.peak_bytes), "ratio")
    yield Section(f"{title}: peak memory", text, table)
    text = "MiB of files that must be there to run the model; the smallest of the peers' / ours."
    table = peer_table(document, results, lambda o: _mib(o.disk_bytes), "ratio")
    yield Section(f"{title}: size on disk", text, table)


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def build_table(results: list[Result]) -> Table:
    table = Table(["model", "build s"])
    for result in results:
        ours = result.outcomes.get(OURS)
        if ours and ours.prepare_ms is not None:
            table.rows.append([result.title, number(ours.prepare_ms / 1e3)])
    return table


def scaling_table(document: Document, precision: str, batch: int) -> Table:
    """Throughput with more threads over throughput with the fewest."""
    configurations = document.configurations()
    threads = sorted(t for p, t, b in configurations if (p, b) == (precision, batch))
    results = document.select(precision, threads[0], batch) if threads else []
    names = present(results, document)
    heads = [f"{TITLES[n]} {t}/{threads[0]}" for t in threads[1:] for n in names]
    table = Table(["model", *heads])
    for result in results:
        row = [result.title]
        for t in threads[1:]:
            other = document.find((result.model, precision, t, batch))
            for n in names:
                few = result.outcomes.get(n)
                many = other.outcomes.get(n) if other else None
                is_known = few and many and few.latency and many.latency
                row.append(number(few.latency.median / many.latency.median) if is_known else "-")  # type: ignore[union-attr]
        table.rows.append(row)
    return table


def throughput_table(document: Document, precision: str, threads: int) -> Table:
    """Items per second by batch."""
    chosen = [c for c in document.configurations() if c[:2] == (precision, threads)]
    batches = sorted(batch for _, _, batch in chosen)
    results = document.select(precision, threads, batches[-1])
    names = present(results, document)
    heads = [f"{TITLES[n]} b{b}" for b in batches for n in names]
    table = Table(["model", *heads, f"ratio b{batches[-1]}"])
    for result in results:
        row = [result.title]
        for b in batches:
            found = document.find((result.model, precision, threads, b))
            for n in names:
                outcome = found.outcomes.get(n) if found else None
                latency = outcome.latency if outcome else None
                row.append(number(1e3 * b / latency.median) if latency else "-")
        table.rows.append([*row, number(result.ratio.median if result.ratio else None)])
    return table


def _error(a: Accuracy) -> str:
    if a.largest is None or a.mean is None:
        return "wrong"
    return f"{a.largest:.1e} / {a.mean:.1e}"


def accuracy_table(document: Document) -> Table:
    columns = list(dict.fromkeys((a.framework, a.precision) for a in document.accuracy))
    columns.sort(key=lambda c: (list(PRECISION_TITLES).index(c[1]), c[0] != OURS))
    heads = [f"{TITLES[n]} {PRECISION_TITLES[p]}" for n, p in columns]
    table = Table(["model", *heads])
    titles = dict.fromkeys((a.model, a.title) for a in document.accuracy)
    found = {(a.model, a.framework, a.precision): a for a in document.accuracy}
    for model, title in titles:
        row = [title]
        for name, precision in columns:
            a = found.get((model, name, precision))
            row.append(_error(a) if a else "-")
        table.rows.append(row)
    return table


def sections(document: Document) -> list[Section]:
    """All tables, in the order in which they should be read."""
    configurations = document.configurations()
    made = []
    for key in configurations:
        table = speed_table(document, document.select(*key))
        text = "Milliseconds of a run; ratio: the best peer's time / ours, above 1 hone is faster."
        made.append(Section(configuration_title(*key), text, table))
    for precision in dict.fromkeys(p for p, _, _ in configurations):
        mine = [c for c in configurations if c[0] == precision]
        title = PRECISION_TITLES[precision]
        threads = sorted({t for _, t, _ in mine})
        batches = sorted({b for _, _, b in mine})
        first = document.select(precision, threads[0], batches[0])
        made += start_sections(document, first, title)
        if len(threads) > 1:
            text = f"Throughput with more threads / with {threads[0]}, batch {batches[0]}."
            table = scaling_table(document, precision, batches[0])
            made.append(Section(f"{title}: threads", text, table))
        if len(batches) > 1:
            text = "Items per second."
            for t in threads:
                table = throughput_table(document, precision, t)
                heading = f"{title}: throughput by batch, {_plural(t, 'thread')}"
                made.append(Section(heading, text, table))
    first = document.select(*configurations[0]) if configurations else []
    built = build_table(first)
    if built.rows:
        text = (
            "What hone takes once, ahead of time, kernels tuned; the peers do their part at load."
        )
        made.append(Section("Building the engine", text, built))
    if document.accuracy:
        text = (
            "Largest / mean error against the model in FP64 (the onnx package's evaluator),"
            " relative to the output's largest value."
        )
        made.append(Section("Accuracy", text, accuracy_table(document)))
    return made
