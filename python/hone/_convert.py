"""ONNX to TensorFlow Lite through the program, and ``--verify litert``: the real interpreter's word on it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._native import HoneError
from ._program import find_program

MISSING = "--verify litert needs ai-edge-litert, which {} lacks; next: pip install ai-edge-litert"


Samples = str | os.PathLike[str] | Mapping[str, np.ndarray]


class ConvertError(HoneError):
    """A model that was not converted.

    Attributes:
        findings: everything that hinders the conversion: dicts of reason, node, op, message and cure.
    """

    def __init__(self, message: str, findings: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.findings = findings


def convert(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Any] | None = None,
    fp16: bool = False,
    int8: bool = False,
    calibrate: Samples | Sequence[Samples] | None = None,
    int8_io: bool = False,
    nhwc_io: bool = False,
    verify: str | None = "hone",
    rtol: float | None = None,
    atol: float | None = None,
) -> dict[str, Any]:
    """Write an ONNX model as TensorFlow Lite.

    Args:
        shapes: dims of inputs to fix.
        constants: inputs that become constants: arrays of their types, or numbers for those of one element.
        fp16: store large weights in half precision.
        int8: compute on 8-bit integers; needs `calibrate`.
        calibrate: samples of the inputs that set the integers' ranges: a mapping of input names to arrays, a
            .npz or .npy file, a folder of such files, "random" (for timing only), or a list of these. Arrays
            whose first dim is a multiple of the model's, or open there, are that many samples.
        int8_io: with int8, inputs and outputs are integers, too.
        nhwc_io: images in and out channels-last.
        verify: who runs the result beside the original: "hone", "litert" (hone, and then LiteRT's
            interpreter), or None.
        rtol, atol: |a - b| <= atol * largest |a| + rtol * |a| must hold for each output, or the program's
            defaults for what is None.

    Returns:
        file_bytes, convert_ms, and what the check found: outputs_max_abs, litert_max_abs; with int8, under
        that key, how far the outputs are from those of the float model on the samples.

    Raises:
        ConvertError: what hinders the conversion, or the tensor that differs; no file is left then.
    """
    if verify not in ("hone", "litert", None):
        raise ValueError(f"verify={verify!r}: it is 'hone', 'litert' or None")
    arguments = [f"--shape={name}={'x'.join(map(str, dims))}" for name, dims in (shapes or {}).items()]
    arguments += ["--fp16"] * fp16 + ["--nhwc-io"] * nhwc_io + ["--no-verify"] * (verify is None)
    arguments += ["--int8"] * int8 + ["--int8-io"] * int8_io
    arguments += [f"--{k}={v!r}" for k, v in (("rtol", rtol), ("atol", atol)) if v is not None]
    with tempfile.TemporaryDirectory(prefix="hone-samples-") as folder:
        arguments += [f"--calibrate={path}" for path in _sample_files(calibrate, pathlib.Path(folder))]
        for i, (name, value) in enumerate((constants or {}).items()):
            np.save(pathlib.Path(folder) / f"constant{i}.npy", np.asarray(value))
            is_number = np.ndim(value) == 0
            given = np.asarray(value).item() if is_number else f"{folder}/constant{i}.npy"
            arguments.append(f"--constant={name}={given}")
        if verify != "litert":
            return _program(model, output, arguments)
        return _checked(model, pathlib.Path(output), arguments, nhwc_io)


def _sample_files(samples: Samples | Sequence[Samples] | None, folder: pathlib.Path) -> list[str]:
    """Paths for --calibrate; arrays are written into the folder."""
    if samples is None:
        return []
    if isinstance(samples, (str, os.PathLike, Mapping)):
        samples = [samples]
    paths = []
    for i, sample in enumerate(samples):
        if isinstance(sample, Mapping):
            paths.append(os.fspath(folder / f"{i}.npz"))
            with zipfile.ZipFile(paths[-1], "w") as archive:
                for name, value in sample.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.save(member, np.asarray(value))
        else:
            paths.append(os.fspath(sample))
    return paths


def _program(
    model: str | os.PathLike[str], output: str | os.PathLike[str], arguments: Sequence[str]
) -> dict[str, Any]:
    command = [find_program(), "convert", os.fspath(model), "-o", os.fspath(output), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout or "{}")
    except ValueError:
        report = {}
    if done.returncode != 0:
        message = done.stderr.strip().removeprefix("hone: ") or "hone convert printed nothing"
        raise ConvertError(message, report.get("findings", []))
    return report


# ---- LiteRT ----


def _checked(
    model: str | os.PathLike[str], output: pathlib.Path, arguments: Sequence[str], nhwc_io: bool
) -> dict[str, Any]:
    """The file appears under its name when LiteRT agrees with the original."""
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        made = pathlib.Path(folder) / output.name
        report = _program(model, made, arguments)
        # LiteRT computes on integers what the original rounds from floats: that is the program's part,
        # in steps. Here it is asked whether it reads the file as the program does.
        is_quantised = report["quantised"]
        original = made if is_quantised else _with_constants(model, arguments, pathlib.Path(folder))
        rng = np.random.default_rng(int((_all_of(arguments, "--seed") or ["0"])[-1]))
        given = _given(arguments, nhwc_io)
        report["litert_max_abs"] = _worst(original, made, report, nhwc_io and not is_quantised, rng, given)
        made.replace(output)
    report["output"] = os.fspath(output)
    return report


def _all_of(arguments: Sequence[str], option: str) -> list[str]:
    """The values of an option that may be given several times."""
    rest, values = list(arguments), []
    while (value := _take(rest, option)) is not None:
        values.append(value)
    return values


def _load(name: str, path: str) -> np.ndarray:
    """The file of ``--input NAME=FILE``, which the program has read already."""
    if path.endswith(".pb"):
        import onnx

        return np.asarray(onnx.numpy_helper.to_array(onnx.load_tensor(path)))
    loaded = np.load(path)
    if path.endswith(".npz"):
        loaded = loaded[name if name in loaded else loaded.files[0]]
    return np.asarray(loaded)


def _given(arguments: Sequence[str], nhwc_io: bool) -> dict[str, np.ndarray]:
    """Inputs that the arguments name files for, in the order of dims of what was written."""
    given: dict[str, np.ndarray] = {}
    for spec in _all_of(arguments, "--input"):
        name, equals, path = spec.partition("=")
        if not equals:  # a .npz file with several
            given.update(np.load(spec))
        elif path not in ("random", "zeros"):
            given[name] = _load(name, path)
    return {k: np.moveaxis(v, 1, -1) if nhwc_io and v.ndim == 4 else v for k, v in given.items()}


def _with_constants(
    model: str | os.PathLike[str], arguments: Sequence[str], folder: pathlib.Path
) -> str | os.PathLike[str]:
    """The original without the inputs that the arguments make constants."""
    constants = [f"--constant={spec}" for spec in _all_of(arguments, "--constant")]
    if not constants:
        return model
    fixed = folder / "original.onnx"
    command = [find_program(), "optimize", os.fspath(model), "-o", os.fspath(fixed), "--no-verify"]
    subprocess.run([*command, "--passes=remove_dead", *constants], capture_output=True, check=True)
    return fixed


def _random(rng: np.random.Generator, detail: Mapping[str, Any], below: int) -> np.ndarray:
    shape = [max(1, int(d)) for d in detail["shape_signature"]]
    kind = np.dtype(detail["dtype"])
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, 2 if kind.kind == "b" else below, shape).astype(kind)


def _worst(
    model: str | os.PathLike[str],
    made: pathlib.Path,
    report: Mapping[str, Any],
    nhwc_io: bool,
    rng: np.random.Generator,
    given: Mapping[str, np.ndarray],
) -> float:
    """The greatest error of LiteRT's outputs against those of the original, run by hone.

    `report` is the program's: its tolerances, and below what it draws the integers of inputs. Inputs that are
    not `given`, or not in the type that was written (--int8-io), are random.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise HoneError(MISSING.format(sys.executable)) from None
    from .session import InferenceSession

    def moved(value: np.ndarray, to: int, back: int) -> np.ndarray:
        return np.moveaxis(value, back, to) if nhwc_io and value.ndim == 4 else value

    # The kernels whose integer arithmetic hone has; others are a step apart.
    kernels = {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF} if model == made else {}
    runner = Interpreter(str(made), **kernels).get_signature_runner()
    session = InferenceSession(os.fspath(model))
    below, rules = report["integers_below"], (report["rtol"], report["atol"])
    details = runner.get_input_details()
    inputs = {
        name: given[name]
        if name in given and given[name].dtype == detail["dtype"]
        else _random(rng, detail, below.get(name, 2))
        for name, detail in details.items()
    }
    want = session.run(None, {name: np.asarray(moved(v, 1, -1), order="C") for name, v in inputs.items()})
    got = runner(**inputs)
    worst = 0.0
    for info, value in zip(session.get_outputs(), want):
        a = np.asarray(moved(np.asarray(value), -1, 1), np.float64)
        worst = max(worst, _difference(info.name, a, np.asarray(got[info.name], np.float64), *rules))
    return worst


def _difference(name: str, a: np.ndarray, b: np.ndarray, rtol: float, atol: float) -> float:
    if a.shape != b.shape:
        raise HoneError(f"LiteRT gives output '{name}' as {list(b.shape)}, the original as {list(a.shape)}")
    if not a.size:
        return 0.0
    error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    error = np.where(np.isnan(error), np.inf, error)
    scale = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        beyond = (error > 0) & ~(error <= atol * scale + rtol * np.abs(a))
    if beyond.any():
        raise HoneError(
            f"LiteRT computes other results, nothing was written; the first output that differs is '{name}': "
            f"max abs {error.max():.3g}, {beyond.sum()} of {a.size} elements beyond tolerance"
        )
    return float(error.max())


# ---- the command ----


def _take(arguments: list[str], option: str) -> str | None:
    """Remove `option` and its value."""
    for i, word in enumerate(arguments):
        if word == option and i + 1 < len(arguments):
            value = arguments[i + 1]
            del arguments[i : i + 2]
            return value
        if word.startswith(option + "="):
            del arguments[i]
            return word[len(option) + 1 :]
    return None


def main(arguments: Sequence[str]) -> int:
    """``hone convert``, where it is not the program's alone: with ``--verify litert``."""
    rest = list(arguments)
    if _take(rest, "--verify") != "litert":
        return subprocess.run([find_program(), "convert", *arguments], check=False).returncode
    output = _take(rest, "-o")
    as_json = "--json" in rest
    rest = [word for word in rest if word != "--json"]
    models = [word for word in rest if word.endswith((".onnx", ".tflite")) and "=" not in word]
    if output is None or len(models) != 1 or "--no-verify" in rest:
        print("hone: usage: hone convert IN.onnx -o OUT.tflite --verify litert", file=sys.stderr)
        return 2
    rest.remove(models[0])
    try:
        report = _checked(models[0], pathlib.Path(output), rest, "--nhwc-io" in rest)
    except HoneError as error:
        for finding in getattr(error, "findings", []):
            print("{node} ({op}): {reason}: {message}; {cure}".format(**finding))
        print(f"hone: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print(f"{output}: {report['file_bytes'] / 1e6:.1f} MB, converted in {report['convert_ms']:.0f} ms")
        print(
            f"verified: outputs differ by {report['outputs_max_abs']:.3g} at most by hone,"
            f" by {report['litert_max_abs']:.3g} by LiteRT"
        )
    return 0
