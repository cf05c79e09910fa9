"""Seeds of fuzz_run: small models from the official node cases, one or two an operator.

A seed is a model whose case's inputs are defaults of its inputs, and a last byte that says how
tests/fuzz/fuzz_run.c builds and runs it. All are kept in one file, tests/fuzz/corpus/run/seeds.npz.

usage: seeds.py make CASES        CASES: a folder written by tests/suite/make_cases.py node
       seeds.py unpack FOLDER     a file each, as libFuzzer wants them
"""

from __future__ import annotations

import pathlib
import sys
import zipfile

import numpy as np
import onnx

PACK = pathlib.Path(__file__).resolve().parent / "corpus" / "run" / "seeds.npz"
LARGEST = 12000  #: bytes of a seed

#: Reference kernels on the case's data, which stay inputs; kernels on an input of small numbers,
#: all else being constant.
WITH_DATA, WITH_WEIGHTS = 9, 146


def operator(model: onnx.ModelProto) -> str | None:
    """The operator that a model of one node shows; control flow counts as its own."""
    nodes = [n for n in model.graph.node if n.op_type != "Constant"]
    if not nodes or (len(nodes) > 1 and model.functions):
        return None
    return (nodes[-1].domain or "ai.onnx") + "." + nodes[-1].op_type


def seed(folder: pathlib.Path, control: int) -> bytes:
    model = onnx.load(folder / "model.onnx")
    skip = 1 if control == WITH_WEIGHTS else 0
    for i, value in list(enumerate(model.graph.input))[skip:]:
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        tensor = onnx.TensorProto.FromString((folder / "set_0" / f"input_{i}.pb").read_bytes())
        tensor.name = value.name
        model.graph.initializer.append(tensor)
    return model.SerializeToString() + bytes([control])


def make(cases: pathlib.Path) -> None:
    smallest: dict[str, bytes] = {}
    for folder in sorted(cases.iterdir()):
        name = operator(onnx.load(folder / "model.onnx"))
        for control in (WITH_DATA, WITH_WEIGHTS):
            data = seed(folder, control)
            key = f"{name}_{control}"
            if name and len(data) < min(LARGEST, len(smallest.get(key, b"x" * LARGEST))):
                smallest[key] = data
    arrays = {k.replace("/", "_"): np.frombuffer(v, np.uint8) for k, v in smallest.items()}
    PACK.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(PACK, "w", zipfile.ZIP_DEFLATED) as pack:
        for key in sorted(arrays):
            # A fixed date: the same cases give the same bytes.
            info = zipfile.ZipInfo(key + ".npy", (2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with pack.open(info, "w") as f:
                np.lib.format.write_array(f, arrays[key])
    print(f"{len(arrays)} seeds, {PACK.stat().st_size} bytes")


def unpack(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(PACK) as pack:
        for key in pack.files:
            (folder / key).write_bytes(pack[key].tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("make", "unpack"):
        sys.exit(__doc__)
    (make if sys.argv[1] == "make" else unpack)(pathlib.Path(sys.argv[2]))
