"""What a model is fed with: its inputs, their valid values, and the files beside it.

``NAME.inputs.json`` beside ``NAME.onnx`` may say all of it::

    {"title": "BERT-base", "inputs": {"input_ids": {"dtype": "int64", "shape": ["batch", 128],
     "values": "integers", "low": 0, "high": 30522}}}

``values`` is ``normal``, ``integers`` (from low, below high) or ``fill``; the dim ``"batch"`` is
the one that ``--batch`` sets. Without the file the model's own inputs are taken: the first dim is
the batch when it is open, other open dims are those of ``--dim``, or 1.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._native import HoneError
from .._program import inspect

Dim = int | str


@dataclasses.dataclass(frozen=True)
class InputSpec:
    dtype: str
    shape: tuple[Dim, ...]  #: ``"batch"`` where the batch goes
    values: str = "normal"
    low: int = 0
    high: int = 2
    fill: float = 1

    def size(self, batch: int) -> list[int]:
        return [batch if dim == "batch" else int(dim) for dim in self.shape]

    def make(self, batch: int, rng: np.random.Generator) -> np.ndarray:
        shape = self.size(batch)
        if self.values == "fill":
            return np.full(shape, self.fill, self.dtype)
        if self.values == "integers":
            return rng.integers(self.low, self.high, shape).astype(self.dtype)
        return rng.standard_normal(shape).astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to compare on."""

    path: pathlib.Path
    title: str
    inputs: dict[str, InputSpec]
    dims: dict[str, list[Dim]]  #: of the inputs as the model has them: names or sizes

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def has_batch(self) -> bool:
        return any("batch" in spec.shape for spec in self.inputs.values())

    def beside(self, ending: str) -> pathlib.Path:
        """A file of the same stem, e.g. ``.tflite``."""
        return self.path.with_suffix(ending)

    def shapes(self, batch: int) -> dict[str, list[int]]:
        return {name: spec.size(batch) for name, spec in self.inputs.items()}

    def symbols(self, batch: int) -> dict[str, int]:
        """Sizes of the dims that have a name in the model."""
        pairs = [
            (dim, size)
            for name, sizes in self.shapes(batch).items()
            for dim, size in zip(self.dims.get(name, []), sizes)
        ]
        return {dim: size for dim, size in pairs if isinstance(dim, str) and dim != "?"}

    def feeds(self, batch: int) -> dict[str, np.ndarray]:
        """Seeded by the model's name, so that every framework and every run gets the same."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return {name: spec.make(batch, rng) for name, spec in self.inputs.items()}


def _guess(info: Mapping[str, Any], sizes: Mapping[str, int]) -> InputSpec:
    shape: list[Dim] = []
    for axis, dim in enumerate(info["dims"]):
        if isinstance(dim, int):
            shape.append(dim)
        elif axis == 0 and dim not in sizes:
            shape.append("batch")
        else:
            shape.append(sizes.get(dim, 1))
    dtype = str(info["dtype"])
    if np.dtype(dtype).kind == "f":
        return InputSpec(dtype, tuple(shape))
    # Ones are valid in masks; 0 and 1 are valid nearly everywhere.
    return InputSpec(dtype, tuple(shape), "fill" if "mask" in info["name"] else "integers")


def open_case(path: pathlib.Path, sizes: Mapping[str, int]) -> Case:
    """Read what can be known of a model; `sizes` are those of named dims."""
    if not path.exists():
        raise HoneError(f"there is no file {path}")
    found = [i for i in inspect(path)["inputs"] if not i.get("optional")]
    dims = {i["name"]: list(i["dims"]) for i in found}
    beside = path.with_suffix(".inputs.json")
    if not beside.exists():
        return Case(path, path.stem, {i["name"]: _guess(i, sizes) for i in found}, dims)
    facts = json.loads(beside.read_text())
    inputs = {
        name: InputSpec(**{**spec, "shape": tuple(spec["shape"])})
        for name, spec in facts["inputs"].items()
    }
    return Case(path, facts.get("title", path.stem), inputs, dims)
