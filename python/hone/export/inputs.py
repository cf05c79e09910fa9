"""What is said about inputs: their names, shapes, types, and which dims are dynamic."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Feeds = dict[str, Array]

#: up to so many dynamic dims are changed one by one, more of them in groups
ONE_BY_ONE = 4


@dataclasses.dataclass(frozen=True)
class Dim:
    """A dynamic dim: its name, and what its sizes are multiples of."""

    name: str
    step: int = 1


#: input: axis: the dim
Dynamic = dict[str, dict[int, Dim]]


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """An input as `--input` states it."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    top: int = 2  #: integers are below this


_INPUT = re.compile(r"(?P<name>[^=]+)=(?P<shape>\d+(x\d+)*|)(:(?P<dtype>\w+))?(<(?P<top>\d+))?")
_DIM = re.compile(r"(?P<input>.+):(?P<axis>\d+)=(?P<name>\w+)(%(?P<step>\d+))?")


def parse_input(text: str) -> InputSpec:
    """``x=1x3x224x224``, ``ids=1x16:int64<1000``: NAME=SHAPE[:DTYPE][<TOP]."""
    found = _INPUT.fullmatch(text)
    if not found:
        raise ValueError(f"'{text}' is not NAME=SHAPE[:DTYPE][<TOP], as in x=1x3x224x224")
    shape = tuple(int(d) for d in found["shape"].split("x") if d)
    dtype = found["dtype"] or ("int64" if found["top"] else "float32")
    try:
        np.dtype(dtype)
    except TypeError:
        raise ValueError(f"'{text}': numpy has no type '{dtype}'") from None
    return InputSpec(found["name"], shape, dtype, int(found["top"] or 2))


def parse_dynamic(text: str) -> Dynamic:
    """``x:0=batch,x:2=height%32``: INPUT:AXIS=NAME, with %N for multiples of N only."""
    result: Dynamic = {}
    for part in filter(None, text.split(",")):
        found = _DIM.fullmatch(part)
        if not found:
            raise ValueError(f"'{part}' is not INPUT:AXIS=NAME[%STEP], as in x:0=batch")
        dim = Dim(found["name"], int(found["step"] or 1))
        result.setdefault(found["input"], {})[int(found["axis"])] = dim
    return result


def to_dynamic(dims: Mapping[str, Mapping[int, str | Dim]] | str | None) -> Dynamic:
    """From what callers may give: the text of `--dynamic`, or names by input and axis."""
    if dims is None:
        return {}
    if isinstance(dims, str):
        return parse_dynamic(dims)
    return {
        name: {a: d if isinstance(d, Dim) else Dim(d) for a, d in axes.items()}
        for name, axes in dims.items()
    }


def check_dynamic(dynamic: Dynamic, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, axes in dynamic.items():
        if name not in shapes:
            raise ValueError(f"there is no input '{name}'; there are {', '.join(shapes)}")
        for axis in axes:
            if axis >= len(shapes[name]):
                raise ValueError(f"'{name}' has {len(shapes[name])} dims, so no dim {axis}")


def make_value(spec: InputSpec, rng: np.random.Generator) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iub":
        return np.asarray(rng.integers(0, spec.top, spec.shape)).astype(dtype)
    return np.asarray(rng.standard_normal(spec.shape)).astype(dtype)


def like(example: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random values of another shape that look like the example's.

    Integers are drawn from the example itself, so that indices stay in range.
    """
    if example.dtype.kind in "iub" and example.size:
        return rng.choice(example.reshape(-1), shape)
    return np.asarray(rng.standard_normal(shape)).astype(example.dtype)


def grow_ones(examples: Feeds, dynamic: Dynamic) -> tuple[Feeds, list[str]]:
    """Examples whose dynamic dims are at least 2, and the names of dims that were 1.

    Exporters take a size of 1 for a constant: broadcasting makes it special.
    """
    ones = [
        dim.name
        for name, axes in dynamic.items()
        for axis, dim in axes.items()
        if examples[name].shape[axis] == 1
    ]
    grown = dict(examples)
    for name, axes in dynamic.items():
        for axis, dim in axes.items():
            if dim.name in ones:
                grown[name] = np.repeat(grown[name], max(2, dim.step), axis)
    return grown, list(dict.fromkeys(ones))


def _sizes(n: int, dim: Dim, is_first: bool) -> list[int]:
    """Other sizes to try: one smaller and one greater where that is possible."""
    less = 1 if is_first else max(dim.step, n * 3 // 4 // dim.step * dim.step)
    more = n + (1 if is_first else max(dim.step, 7 // dim.step * dim.step))
    return [s for s in (less, more) if s != n]


def _together(dims: Sequence[str]) -> list[list[str]]:
    """Which dims to change at once, so that every dim changes and no two only ever together.

    A few by themselves; of many, group k has those whose number, from 1, has bit k set.
    """
    if len(dims) <= ONE_BY_ONE:
        return [[dim] for dim in dims]
    return [
        [dim for i, dim in enumerate(dims, 1) if i >> k & 1] for k in range(len(dims).bit_length())
    ]


def make_cases(examples: Feeds, dynamic: Dynamic, seed: int = 0) -> list[tuple[str, Feeds]]:
    """Inputs to compare on: the example's sizes, dynamic dims made smaller, then all of them greater."""
    base: dict[str, int] = {}
    others: dict[str, list[int]] = {}
    for name, axes in dynamic.items():
        for axis, dim in axes.items():
            n = examples[name].shape[axis]
            base.setdefault(dim.name, n)
            others.setdefault(dim.name, _sizes(n, dim, axis == 0))
    others = {dim: sizes for dim, sizes in others.items() if sizes}
    choices = [base]
    choices += [{**base, **{d: others[d][0] for d in group}} for group in _together(list(others))]
    if base:
        choices.append({**base, **{dim: sizes[-1] for dim, sizes in others.items()}})
    result = []
    for i, sizes in enumerate(choices):
        rng = np.random.default_rng(seed + i)
        feeds = {}
        for name, example in examples.items():
            shape = list(example.shape)
            for axis, dim in dynamic.get(name, {}).items():
                shape[axis] = sizes[dim.name]
            feeds[name] = like(example, tuple(shape), rng)
        label = ", ".join(f"{dim}={n}" for dim, n in sizes.items()) or "fixed"
        result.append((label, feeds))
    return result
