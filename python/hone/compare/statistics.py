"""Numbers out of rounds: ratios, percentiles, means."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median, 10th and 90th percentile."""

    median: float
    p10: float
    p90: float


def spread(values: Sequence[float]) -> Spread:
    p10, median, p90 = np.percentile(values, [10, 50, 90])
    return Spread(float(median), float(p10), float(p90))


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """Of each round, their time / our time: above 1 we are faster. Rounds are pairs in time."""
    if len(theirs) != len(ours):
        raise ValueError(f"{len(theirs)} rounds of one and {len(ours)} of the other")
    return spread([a / b for a, b in zip(theirs, ours)])


def fastest(rounds: Mapping[str, Sequence[float]]) -> str | None:
    """Who has the lowest median; None of nobody."""
    return min(rounds, key=lambda name: float(np.median(rounds[name])), default=None)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan
