"""hone convert beside onnx2tf and TensorFlow's converter (Keras models): docs/conversion-comparison.md.

    python bench/compare_convert.py MODEL.onnx ... [--keras NAME ...] [--onnx2tf PYTHON] [--tensorflow PYTHON]
        [--fixed STEM ...] [--kept FOLDER] [--rounds N] [-o docs/conversion-comparison.md] [--json FILE]

For each model: seconds to convert (a process each, start included, without hone's own check), bytes of the
file, operators in it, the greatest error of LiteRT's outputs against ONNX Runtime's relative to the largest
output, and LiteRT's latency: all files of a model run in turns, so that a busy machine slows all alike; the
ratio is the other converter's time over hone's, median and 10th and 90th percentile of the rounds.

PYTHON is an interpreter that has the other converter; --onnx2tf "" leaves it out. --keras: names of
keras.applications, random weights, statistics of batch norms from data, which the TensorFlow interpreter
writes as .tflite by tf.lite.TFLiteConverter and as .onnx by hone's exporter. --kept: a folder for what the
converters wrote and how long they took; what is there is not converted again, so that latencies can be taken
anew on a quiet machine. --fixed: models whose open dims are 1, for converters that refuse them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from hone._program import find_program

LIMIT = 400
#: of a model's rounds
MEASURE_SECONDS, LEAST_ROUNDS = 20.0, 10

ONNX2TF = "import sys, onnx2tf; onnx2tf.convert(input_onnx_file_path=sys.argv[1], \
output_folder_path=sys.argv[2], non_verbose=True, copy_onnx_input_output_names_to_tflite=True, \
overwrite_input_shape=sys.argv[3:] or None)"

KERAS = """
import sys, time, keras, tensorflow as tf
keras.utils.set_random_seed(0)
model = getattr(keras.applications, sys.argv[1])(
    weights=None, classifier_activation=None, input_shape=(96, 96, 3))
norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
for layer in norms:  # statistics of data, or signals vanish and every output is the same
    layer.momentum = 0.0
model(keras.random.uniform((8, 96, 96, 3), 0.0, 255.0, seed=0), training=True)
import hone
hone.export_tf(model, sys.argv[2], optimize=False, seconds=0, report=False)
start = time.perf_counter()
data = tf.lite.TFLiteConverter.from_keras_model(model).convert()
print("seconds", time.perf_counter() - start)
open(sys.argv[3], "wb").write(data)
"""

#: of inputs whose dims are to be fixed
Shapes = dict[str, list[int]]

VERSION = "from importlib.metadata import packages_distributions as p, version as v; print(v(p()['{0}'][0]))"


def reason(said: str) -> str:
    """The line that says most: hone's own before its hint, an exception's; no logs (W0000 12:00)."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", said)  # without colours
    lines = [line.strip(" \u2022") for line in plain.splitlines()]
    lines = [line for line in lines if line and not re.match(r"[IWEF]\d{4} |WARNING", line)]
    best = [line for line in lines if re.match(r"hone: |\w*(Error|Exception): ", line)]
    return (best or lines or [""])[-1][:160]


def run_process(command: list[str], folder: pathlib.Path | None = None) -> tuple[float, str]:
    """Seconds and standard output."""
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done after {LIMIT} s") from None
    if done.returncode < 0:
        raise RuntimeError(f"ended by signal {-done.returncode}")
    if done.returncode:
        raise RuntimeError(reason(done.stderr) or reason(done.stdout) or "no message")
    return time.perf_counter() - start, done.stdout


def by_hone(model: pathlib.Path, shapes: Shapes, folder: pathlib.Path) -> tuple[float, pathlib.Path]:
    out = folder / "hone.tflite"
    command = [find_program(), "convert", str(model), "-o", str(out), "--no-verify"]
    for name, dims in shapes.items():
        command += ["--shape", f"{name}={'x'.join(map(str, dims))}"]
    return run_process(command)[0], out


def by_onnx2tf(
    python: str, model: pathlib.Path, shapes: Shapes, folder: pathlib.Path
) -> tuple[float, pathlib.Path]:
    """onnx2tf tries its result on sample images, which it would fetch: random ones take their place."""
    samples = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", samples)
    shutil.copy(model, folder / "copy.onnx")  # onnx2tf simplifies its input in place
    wanted = [f"{name}:{','.join(map(str, dims))}" for name, dims in shapes.items()]
    seconds, _ = run_process([python, "-c", ONNX2TF, "copy.onnx", "o2t", *wanted], folder)
    return seconds, folder / "o2t" / "copy_float32.tflite"


def by_tensorflow(python: str, name: str, folder: pathlib.Path) -> tuple[float, pathlib.Path]:
    """Writes model.onnx too, for the other converters."""
    tflite = folder / "tf.tflite"
    _, said = run_process([python, "-c", KERAS, name, str(folder / "model.onnx"), str(tflite)])
    return float(said.split("seconds")[1].split()[0]), tflite


class Run:
    """A .tflite with the inputs of an ONNX model, moved to where its layout has them."""

    def __init__(self, path: pathlib.Path, inputs: list[np.ndarray], wanted: list[np.ndarray]) -> None:
        self.peer = Interpreter(str(path), num_threads=1)
        details = self.peer.get_input_details()
        for detail, value in zip(details, inputs):
            self.peer.resize_tensor_input(detail["index"], self.place(detail, value).shape)
        self.peer.allocate_tensors()
        for detail, value in zip(details, inputs):
            self.peer.set_tensor(detail["index"], self.place(detail, value))
        self.peer.invoke()
        self.error = max(map(self.distance, self.peer.get_output_details(), wanted))
        names = [op["op_name"] for op in self.peer._get_ops_details()]
        names = [name for name in names if name != "DELEGATE"]
        self.n_operators, self.n_transposes = len(names), names.count("TRANSPOSE")

    @staticmethod
    def place(detail: dict[str, Any], value: np.ndarray) -> np.ndarray:
        signature = list(detail["shape_signature"])
        fits = all(a in (-1, b) for a, b in zip(signature, value.shape))
        moved = value if fits else np.moveaxis(value, 1, -1)
        return np.ascontiguousarray(moved.astype(detail["dtype"]))

    def distance(self, detail: dict[str, Any], want: np.ndarray) -> float:
        got = self.peer.get_tensor(detail["index"]).astype(np.float64)
        if got.shape != want.shape and got.ndim > 2:
            got = np.moveaxis(got, -1, 1)
        if got.shape != want.shape:
            return float("inf")
        return float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))

    def seconds(self) -> float:
        start = time.perf_counter()
        self.peer.invoke()
        return time.perf_counter() - start


def open_shapes(model: pathlib.Path) -> Shapes:
    """The shapes of inputs that have open dims, with 1 for these."""
    inputs = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()
    shapes = {i.name: [d if isinstance(d, int) else 1 for d in i.shape] for i in inputs}
    return {i.name: shapes[i.name] for i in inputs if shapes[i.name] != i.shape}


def reference(model: pathlib.Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    rng, inputs = np.random.default_rng(0), []
    for info in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in info.shape]
        is_float = info.type == "tensor(float)"
        value = rng.standard_normal(shape) if is_float else rng.integers(0, 10, shape)
        inputs.append(value.astype(np.float32 if is_float else np.int64))
    names = [info.name for info in session.get_inputs()]
    return inputs, [v.astype(np.float64) for v in session.run(None, dict(zip(names, inputs)))]


def interleave(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in so many rounds, fewer where they take long; who begins changes with the round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    begin = time.perf_counter()
    for turn in range(rounds if order else 0):
        if turn >= LEAST_ROUNDS and time.perf_counter() - begin > MEASURE_SECONDS:
            break
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            times[name].append(runs[name].seconds())
    return times


def compare(name: str, model: pathlib.Path, made: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """`made`: converter to (seconds, path), or to the message of its failure."""
    inputs, wanted = reference(model)
    rows: list[dict[str, Any]] = []
    runs = {}
    for converter, result in made.items():
        row: dict[str, Any] = {"model": name, "converter": converter}
        rows.append(row)
        try:
            if isinstance(result, str):
                raise RuntimeError(result)
            run = runs[converter] = Run(result[1], inputs, wanted)
            row |= {"seconds": result[0], "bytes": result[1].stat().st_size, "error": run.error}
            row |= {"operators": run.n_operators, "transposes": run.n_transposes}
        except (RuntimeError, ValueError, OSError) as error:
            row["failure"] = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    times = interleave(runs, rounds)
    for row in rows:
        if row["converter"] in times:
            mine = np.array(times[row["converter"]])
            row |= {"ms": float(np.median(mine) * 1e3), "fastest_ms": float(mine.min() * 1e3)}
            if "hone" in times:
                quantiles = np.quantile(mine / np.array(times["hone"]), [0.5, 0.1, 0.9])
                row["ratio"] = [float(q) for q in quantiles]
    return rows


def attempt(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except RuntimeError as error:
        return str(error)


def once(folder: pathlib.Path, converter: str, function: Any, *arguments: Any) -> Any:
    """As attempt, but of what the folder holds already: seconds and the file, or the failure's message."""
    record = folder / f"{converter}.json"
    if not record.exists():
        result = attempt(function, *arguments, folder)
        if not isinstance(result, str):
            result = [result[0], str(result[1].relative_to(folder))]
        record.write_text(json.dumps(result))
    result = json.loads(record.read_text())
    return result if isinstance(result, str) else (result[0], folder / result[1])


HEAD = (
    "| model | converter | seconds | MB | operators | transposes | error | LiteRT ms | fastest"
    " | ratio, p10 to p90 |"
)


def line(row: dict[str, Any]) -> str:
    start = f"| {row['model']} | {row['converter']} | "
    if "failure" in row:
        return start + f"{row['failure'].replace('|', ' ')} | | | | | | | |"
    ratio = "{:.2f} ({:.2f} to {:.2f})".format(*row["ratio"]) if "ratio" in row else ""
    return start + (
        f"{row['seconds']:.2f} | {row['bytes'] / 1e6:.2f} | {row['operators']} | {row['transposes']} | "
        f"{row['error']:.1e} | {row['ms']:.2f} | {row['fastest_ms']:.2f} | {ratio} |"
    )


def write(path: pathlib.Path, rows: list[dict[str, Any]], versions: dict[str, str], rounds: int) -> None:
    text = f"""# Conversion beside other converters

Written by `bench/compare_convert.py`, which says what is measured: seconds of a whole process (TensorFlow's
converter: of the call alone), the error relative to the largest output of ONNX Runtime, LiteRT on one
thread in up to {rounds} rounds, {MEASURE_SECONDS:.0f} s a model, in which the files take turns. The ratio is
of runs one after the other, median and spread; above 1: hone's file is faster. The machine was shared with
other work: times are rough, those of conversions above all; ratios and fastest times are better. onnx2tf
tries its result on sample images; random ones took their place. "batch 1": converters were told to fix the
dims that the model leaves open. Of a converter that fails, the line of its output that says most.

Versions: {", ".join(f"{name} {version}" for name, version in versions.items())}; {platform.machine()}, Python
{platform.python_version()}.

{HEAD}
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
"""
    path.write_text(text + "\n".join(map(line, rows)) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--keras", nargs="*", default=[])
    parser.add_argument("--fixed", nargs="*", default=[], help="stems of models whose open dims are to be 1")
    parser.add_argument("--onnx2tf", default=sys.executable)
    parser.add_argument("--tensorflow", default=sys.executable)
    parser.add_argument("--kept", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("-o", "--output", type=pathlib.Path, default="docs/conversion-comparison.md")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    versions = {name: metadata.version(name) for name in ("onnxruntime", "ai-edge-litert")}
    for python, package in ((args.onnx2tf, "onnx2tf"), (args.tensorflow, "tensorflow")):
        if not python:
            continue
        said = attempt(run_process, [python, "-c", VERSION.format(package)])
        versions[package] = "absent" if isinstance(said, str) else said[1].strip()
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        for name in [*(f"keras/{n}" for n in args.keras), *map(str, args.models)]:
            is_keras = name.startswith("keras/")
            title = name if is_keras else pathlib.Path(name).stem
            top = args.kept or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            is_fixed = title in args.fixed
            if is_fixed:
                title += ", batch 1"
            folder = top / title.replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            model, made = pathlib.Path(name), {}
            if is_keras:
                made["tensorflow"] = once(folder, "tensorflow", by_tensorflow, args.tensorflow, title[6:])
                model = folder / "model.onnx"
            shapes = open_shapes(model) if is_fixed else {}
            if args.onnx2tf and model.exists():
                made["onnx2tf"] = once(folder, "onnx2tf", by_onnx2tf, args.onnx2tf, model, shapes)
            if model.exists():
                made = {"hone": attempt(by_hone, model, shapes, folder)} | made
                new = compare(title, model, made, args.rounds)
            else:
                new = [{"model": title, "converter": c, "failure": f} for c, f in made.items()]
            rows += new
            print("\n".join(map(line, new)), flush=True)
            write(args.output, rows, versions, args.rounds)
            if args.json:
                args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
