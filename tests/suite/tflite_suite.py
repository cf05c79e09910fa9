"""The ONNX node cases through the TensorFlow Lite writer and LiteRT's interpreter.

    python tests/suite/tflite_suite.py CASES [--filter TEXT] [--write]

CASES is what tests/suite/make_cases.py wrote for the kind `node`. A case passes when LiteRT, given the case's
inputs, gives its outputs within its tolerance. Cases whose parameters are inputs of the graph (the shape of a
Reshape, say), which TensorFlow Lite wants constant, are tried again with all inputs but the first as
constants.

What does not pass is listed in tests/suite/tflite_refused.txt, "NAME: CODE": the code of the writer's first
refusal, or what went wrong afterwards. --write writes the list anew; without it, differences are failures.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import multiprocessing.connection
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

import hone

LIST = pathlib.Path(__file__).with_name("tflite_refused.txt")
HEADER = "# What does not pass: tests/suite/tflite_suite.py --write\n"
CONSTANT = "passes-with-constant-parameters"


class NotSo(Exception):
    """A case does not pass; the text is its code."""


def values(folder: pathlib.Path, prefix: str, infos) -> list[np.ndarray]:
    found = []
    for i, info in enumerate(infos):
        if info.type.WhichOneof("value") != "tensor_type":
            raise NotSo("no-tensor")
        proto = TensorProto.FromString((folder / f"{prefix}_{i}.pb").read_bytes())
        found.append(numpy_helper.to_array(proto))
    return found


def with_constants(model: onnx.ModelProto, data: list[np.ndarray]) -> onnx.ModelProto:
    """All inputs but the first become initialisers."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    for info, value in list(zip(model.graph.input, data))[1:]:
        made.graph.initializer.append(numpy_helper.from_array(value, info.name))
    del made.graph.input[1:]
    return made


def as_stored(value: np.ndarray) -> np.ndarray:
    """16-bit floats are 32-bit ones in the file."""
    return value.astype(np.float32) if value.dtype.itemsize == 2 and value.dtype.kind in "fV" else value


def convert(model: onnx.ModelProto, folder: pathlib.Path) -> pathlib.Path:
    path = folder / "m.tflite"
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    try:
        hone.convert(folder / "m.onnx", path, verify=None)
    except hone.ConvertError as error:
        raise NotSo(error.findings[0]["reason"] if error.findings else "not-read") from None
    return path


def run(path: pathlib.Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        return Interpreter(str(path)).get_signature_runner()(**feeds)
    except (ValueError, RuntimeError) as error:
        print(f"  LiteRT: {str(error)[:300]}")
        raise NotSo("litert-fails") from None


def check(got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> None:
    if got.shape != want.shape:
        print(f"  {got.shape} {got.dtype}, wanted {want.shape} {want.dtype}")
        raise NotSo("wrong-shape")
    if want.dtype != as_stored(want).dtype:  # results of 16-bit arithmetic, float16 or bfloat16
        rtol, atol = (max(rtol, 4e-3), max(atol, 1e-3)) if want.dtype.kind == "f" else (2e-2, 1e-2)
    try:
        np.testing.assert_allclose(got, as_stored(want), rtol=rtol, atol=atol)
    except AssertionError as error:
        print("  " + " ".join(str(error).split())[:300])
        raise NotSo("wrong-answer") from None


def attempt(model: onnx.ModelProto, data, rtol: float, atol: float, folder: pathlib.Path) -> None:
    inputs, outputs = data
    path = convert(model, folder)
    feeds = {info.name: as_stored(value) for info, value in zip(model.graph.input, inputs)}
    got = run(path, feeds)
    for info, want in zip(model.graph.output, outputs):
        check(got[info.name], want, rtol, atol)


def result_of(case: pathlib.Path, folder: pathlib.Path) -> str:
    """"" or the code."""
    model = onnx.load(case / "model.onnx")
    rtol, atol = map(float, (case / "tolerance").read_text().split())
    try:
        data = values(case / "set_0", "input", model.graph.input), values(
            case / "set_0", "output", model.graph.output
        )
        attempt(model, data, rtol, atol, folder)
    except NotSo as error:
        code = str(error)
    else:
        return ""
    if code in ("no-tensor", "wrong-answer", "wrong-shape", "litert-fails") or len(data[0]) < 2:
        return code
    try:
        attempt(with_constants(model, data[0]), data, rtol, atol, folder)
    except NotSo as error:
        return str(error) if str(error).startswith(("wrong", "litert")) else code
    return CONSTANT


def serve(pipe: multiprocessing.connection.Connection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        while case := pipe.recv():
            print(case.name, flush=True)
            pipe.send(result_of(case, pathlib.Path(folder)))


class Worker:
    """A process that runs cases, made anew when LiteRT aborts it."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def run(self, case: pathlib.Path) -> str:
        self.pipe.send(case)
        try:
            code: str = self.pipe.recv()
        except EOFError:
            code = "litert-aborts"
            self.start()
        return code

    def stop(self) -> None:
        self.pipe.send(None)
        self.process.join()


def run_all(cases: pathlib.Path, pattern: str = "") -> dict[str, str]:
    """Name to code, "" for what passes."""
    worker = Worker()
    results = {case.name: worker.run(case) for case in sorted(cases.iterdir()) if pattern in case.name}
    worker.stop()
    return results


def read_list() -> dict[str, str]:
    lines = (line for line in LIST.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split(": ", 1) for line in lines)


def differences(results: dict[str, str]) -> list[str]:
    expected = read_list()
    return [
        f"{name}: {code or 'passes'}, the list says {expected.get(name, 'it passes')}"
        for name, code in results.items()
        if code != expected.get(name, "")
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", type=pathlib.Path)
    parser.add_argument("--filter", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    results = run_all(args.cases, args.filter)
    for code, n in collections.Counter(results.values()).most_common():
        print(f"{n:5} {code or 'pass'}")
    if args.write:
        LIST.write_text(HEADER + "".join(f"{n}: {c}\n" for n, c in sorted(results.items()) if c))
        return 0
    wrong = differences(results)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
