"""Model files, and the data beside them where a model is over 2 GB."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator


def data_files(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of external data that a model refers to."""
    import onnx

    names = {
        entry.value
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]


def size(path: pathlib.Path) -> int:
    """Bytes of a model with its external data."""
    return sum(p.stat().st_size for p in [path, *data_files(path)])


@contextlib.contextmanager
def staging(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where to write what will become target: a folder that ends with the block, on the same disk.

    Raises:
        ValueError: target's folder does not exist.
    """
    if not target.parent.is_dir():
        raise ValueError(f"the folder '{target.parent}' does not exist")
    with tempfile.TemporaryDirectory(prefix=".hone-export-", dir=target.parent) as folder:
        yield pathlib.Path(folder) / target.name


def place(staged: pathlib.Path, target: pathlib.Path) -> None:
    """Move a model to its place; external data becomes one file, `<target>.data`."""
    import onnx

    data = data_files(staged)
    name = f"{target.name}.data"
    if [p.name for p in data] == [name]:
        data[0].replace(target.parent / name)
    elif data:  # the older exporter writes a file for each tensor
        (target.parent / name).unlink(missing_ok=True)  # onnx.save appends to it
        onnx.save(onnx.load(staged), target, save_as_external_data=True, location=name)
        return
    staged.replace(target)
