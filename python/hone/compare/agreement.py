"""Whether frameworks computed the same: errors against an anchor, limits by precision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

#: The largest error allowed, relative to the output's largest value. Networks of fifty layers turn
#: the rounding of BF16 into a tenth; answers that have nothing to do with each other are 1 apart.
TOLERANCE = {"fp32": 1e-3, "bf16": 0.25, "int8": 0.25}
#: Whom to believe first among equals: never the one whose speed is to be shown.
TRUST = ("ort", "openvino", "torch", "torch-compile", "litert", "tensorrt", "hone")

#: Frameworks whose converters do not keep the order of outputs.
UNORDERED = ("litert",)

Outputs = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Error:
    """Of all outputs together, relative to each output's largest value."""

    largest: float
    mean: float


def difference(got: Outputs, want: Outputs) -> Error:
    """Infinite where number, shapes or kinds differ, or where only one has a NaN."""
    wrong = Error(math.inf, math.inf)
    if len(got) != len(want):
        return wrong
    largest, mean = 0.0, 0.0
    for a, b in zip(got, want):
        if a.shape != b.shape or (a.dtype.kind == "f") != (b.dtype.kind == "f"):
            return wrong
        if not b.size:
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isfinite(x), np.isfinite(y)):
            return wrong
        off = np.abs(np.where(np.isfinite(y), x - y, 0.0))
        scale = float(np.abs(y[np.isfinite(y)]).max(initial=0.0)) or 1.0
        largest = max(largest, float(off.max()) / scale)
        mean = max(mean, float(off.mean()) / scale)
    return Error(largest, mean)


def in_order_of(framework: str, got: Outputs, want: Outputs) -> Outputs:
    """The same outputs in another order, where order is lost and shapes tell which is which."""
    if framework not in UNORDERED:
        return got
    by_shape = {a.shape: a for a in got}
    shapes = [b.shape for b in want]
    if len(by_shape) != len(got) or sorted(by_shape) != sorted(shapes):
        return got
    return [by_shape[shape] for shape in shapes]


def choose_anchor(outputs: Mapping[str, Outputs], tolerance: float) -> str:
    """The one most others agree with; among equals the first of TRUST."""

    def support(name: str) -> int:
        return sum(difference(outputs[name], o).largest <= tolerance for o in outputs.values())

    return min(outputs, key=lambda name: (-support(name), TRUST.index(name)))
