"""Charts as inline SVG. Colours and fonts are the page's style sheet's (classes c0, c1, ...)."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

WIDTH = 720


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    cls = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{cls}>{html.escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html.escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def legend(names: Sequence[str]) -> str:
    keys = (f'<span><i class="k{i}"></i>{html.escape(n)}</span>' for i, n in enumerate(names))
    return f'<p class="legend">{"".join(keys)}</p>'


def ratio_bars(rows: Sequence[tuple[str, float, float, float]], label: str) -> str:
    """A bar for each model: median, p10, p90; above 1 we are faster."""
    step, left, right = 24, 210, WIDTH - 60
    top = max([1.5, *(row[3] for row in rows)]) * 1.05
    height = step * len(rows) + 34
    parts = []

    def at(value: float) -> float:
        return left + (right - left) * value / top

    for tick in _ticks(top):
        parts.append(_line(at(tick), 8, at(tick), height - 24, "one" if tick == 1 else "grid"))
        parts.append(_text(at(tick), height - 8, f"{tick:g}", "tick", "middle"))
    for i, (name, middle, p10, p90) in enumerate(rows):
        y = 12 + i * step
        kind = "c0" if middle >= 1 else "slow"
        parts.append(_text(left - 8, y + 13, name, "", "end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{at(middle) - left:.1f}" height="16" rx="2"'
            f' class="{kind}"><title>{html.escape(name)}: {middle:.2f}'
            f" ({p10:.2f} to {p90:.2f})</title></rect>"
        )
        parts.append(_line(at(p10), y + 8, at(p90), y + 8, "whisker"))
        parts.append(_text(at(max(middle, p90)) + 6, y + 13, f"{middle:.2f}"))
    return _svg(height, parts, label)


def _ticks(top: float) -> list[float]:
    step = 0.5 if top <= 3 else 1.0 if top <= 8 else 5.0
    return [i * step for i in range(int(top / step) + 1)]


def latency_bars(
    rows: Sequence[tuple[str, Sequence[float | None]]], names: Sequence[str], label: str
) -> str:
    """For each model a bar for each framework, the longest of a model at full width."""
    thin, left, right = 11, 210, WIDTH - 90
    group = thin * len(names) + 8
    height = group * len(rows) + 12
    parts = []
    for i, (name, values) in enumerate(rows):
        y = 8 + i * group
        longest = max((v for v in values if v is not None), default=1.0)
        parts.append(_text(left - 8, y + group / 2 + 1, name, "", "end"))
        for k, value in enumerate(values):
            if value is None:
                parts.append(_text(left + 4, y + k * thin + 9, "-", "tick"))
                continue
            width = (right - left) * value / longest
            parts.append(
                f'<rect x="{left}" y="{y + k * thin}" width="{width:.1f}" height="{thin - 2}"'
                f' rx="1" class="c{k}"><title>{html.escape(names[k])}: {value:.3g} ms</title>'
                "</rect>"
            )
            parts.append(_text(left + width + 5, y + k * thin + 9, f"{value:.3g} ms", "tick"))
    return _svg(height, parts, label)


@dataclasses.dataclass(frozen=True)
class Axis:
    """A logarithmic axis between two numbers, over pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)

    def ticks(self) -> list[float]:
        lowest, highest = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1, 2, 5) if highest - lowest <= 3 else (1,)
        found = [10.0**e * s for e in range(lowest, highest + 1) for s in steps]
        return [t for t in found if self.low * 0.999 <= t <= self.high * 1.001]


def _frame(x: Axis, y: Axis, x_title: str, y_title: str) -> list[str]:
    parts = []
    for tick in x.ticks():
        parts.append(_line(x.at(tick), y.start, x.at(tick), y.end, "grid"))
        parts.append(_text(x.at(tick), y.start + 16, f"{tick:g}", "tick", "middle"))
    for tick in y.ticks():
        parts.append(_line(x.start, y.at(tick), x.end, y.at(tick), "grid"))
        parts.append(_text(x.start - 6, y.at(tick) + 4, f"{tick:g}", "tick", "end"))
    parts.append(_text((x.start + x.end) / 2, y.start + 34, x_title, "tick", "middle"))
    parts.append(_text(x.start, y.end - 8, y_title, "tick"))
    return parts


Point = tuple[float, float, str]  #: x, y, what it says


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low / 1.3, high * 1.3


def lines(
    series: Sequence[tuple[int, Sequence[Point]]], x_title: str, y_title: str, label: str
) -> str:
    """Lines of points, in the colours of their numbers, over logarithmic axes."""
    points = [p for _, line in series for p in line]
    if not points:
        return ""
    x = Axis(*_bounds([p[0] for p in points]), 64, WIDTH - 20)
    y = Axis(*_bounds([p[1] for p in points]), 236, 26)
    parts = _frame(x, y, x_title, y_title)
    for colour, line in series:
        path = " ".join(f"{x.at(px):.1f},{y.at(py):.1f}" for px, py, _ in line)
        parts.append(f'<polyline points="{path}" class="line l{colour}"/>')
        for px, py, words in line:
            parts.append(
                f'<circle cx="{x.at(px):.1f}" cy="{y.at(py):.1f}" r="4" class="c{colour}">'
                f"<title>{html.escape(words)}</title></circle>"
            )
    return _svg(278, parts, label)


@dataclasses.dataclass(frozen=True)
class Layer:
    name: str
    intensity: float  #: operations for each byte
    speed: float  #: GFLOP/s
    share: float  #: of the time of all layers


def roofline(layers: Sequence[Layer], peak: float, read: float, label: str) -> str:
    """Speed of each layer over its arithmetic intensity; the area of a dot is its share of time."""
    if not layers or peak <= 0 or read <= 0:
        return ""
    x = Axis(*_bounds([peak / read, *(p.intensity for p in layers)]), 64, WIDTH - 20)
    y = Axis(*_bounds([peak, *(max(p.speed, 0.01 * peak) for p in layers)]), 276, 26)
    parts = _frame(x, y, "operations for each byte", "GFLOP/s")
    knee = peak / read
    start = max(x.low, y.low / read)
    parts.append(_line(x.at(start), y.at(start * read), x.at(knee), y.at(peak), "roof"))
    parts.append(_line(x.at(knee), y.at(peak), x.end, y.at(peak), "roof"))
    parts.append(_text(x.end, y.at(peak) - 6, f"{peak:.0f} GFLOP/s", "tick", "end"))
    for layer in sorted(layers, key=lambda p: -p.share):
        radius = 2.5 + 16 * math.sqrt(layer.share)
        parts.append(
            f'<circle cx="{x.at(layer.intensity):.1f}" cy="{y.at(layer.speed):.1f}"'
            f' r="{radius:.1f}" class="dot"><title>{html.escape(layer.name)}:'
            f" {layer.speed:.1f} GFLOP/s, {100 * layer.share:.1f} % of the time</title></circle>"
        )
    return _svg(318, parts, label)
