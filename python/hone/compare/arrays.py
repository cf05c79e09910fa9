"""Arrays in .npz files: whole or not at all."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray] | Sequence[np.ndarray]) -> None:
    part = path.with_name(f".part-{path.name}")
    if isinstance(arrays, Mapping):
        np.savez(part, **arrays)  # type: ignore[arg-type]  # its stubs take any name for an option
    else:
        np.savez(part, *arrays)
    part.replace(path)


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """By name, in the order in which they were saved."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}
