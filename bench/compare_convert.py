"""hone convert beside onnx2tf and TensorFlow's converter (Keras models): docs/conversion-comparison.md.

    python bench/compare_convert.py MODEL.onnx ... [--keras NAME ...] [--onnx2tf PYTHON] [--tensorflow PYTHON]
        [--fixed STEM ...] [--kept FOLDER] [--rounds N] [--measure S] [--limit S] [--minutes M]
        [-o docs/conversion-comparison.md] [--json FILE [--resume]]

For each model: seconds to convert (a process each, start included, without hone's own check), bytes of the
file, operators in it, the greatest error of LiteRT's outputs against ONNX Runtime's relative to the largest
output, and LiteRT's latency: all files of a model run in turns, so that a busy machine slows all alike; the
ratio is the other converter's time over hone's, median and 10th and 90th percentile of the rounds.

PYTHON is an interpreter that has the other converter; --onnx2tf "" leaves it out. --keras: names of
keras.applications, random weights, statistics of batch norms from data, which the TensorFlow interpreter
writes as .tflite by tf.lite.TFLiteConverter and as .onnx by hone's exporter. --kept: a folder for what the
converters wrote and how long they took; what is there is not converted again, so that latencies can be taken
anew on a quiet machine. --fixed: models whose open dims are fixed, for converters that refuse them.

Time: --limit ends a conversion, --measure the rounds of a model (--rounds 0: none, conversions only); after
--minutes no further model is begun.
The table is written after each model, and --resume takes over the rows that --json FILE has.
"""

from __future__ import annotations

import argparse
import dataclasses
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

LEAST_ROUNDS = 10
#: Sizes of open dims, by axis: a batch, a length; samples of sound for all others.
SIZES, SAMPLES = {0: 1, 1: 16}, 4000

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
#: what a conversion gives: seconds and the file
Made = tuple[float, pathlib.Path]

VERSION = "from importlib.metadata import packages_distributions as p, version as v; print(v(p()['{0}'][0]))"


def reason(said: str) -> str:
    """The line that says most: hone's own before its hint, an exception's; no logs (W0000 12:00)."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", said)  # without colours
    lines = [line.strip(" \u2022") for line in plain.splitlines()]
    lines = [line for line in lines if line and not re.match(r"[IWEF]\d{4} |WARNING", line)]
    best = [line for line in lines if re.match(r"hone: |\w*(Error|Exception): ", line)]
    return (best or lines or [""])[-1][:160]


def run_process(command: list[str], limit: float, folder: pathlib.Path | None = None) -> tuple[float, str]:
    """Seconds and standard output."""
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done after {limit:.0f} s") from None
    if done.returncode < 0:
        raise RuntimeError(f"ended by signal {-done.returncode}")
    if done.returncode:
        raise RuntimeError(reason(done.stderr) or reason(done.stdout) or "no message")
    return time.perf_counter() - start, done.stdout


@dataclasses.dataclass(frozen=True)
class Converters:
    """The interpreters that have the others ("": leave out), and the seconds that a conversion may take."""

    onnx2tf: str
    tensorflow: str
    limit: float

    def by_hone(self, model: pathlib.Path, shapes: Shapes, folder: pathlib.Path) -> Made:
        out = folder / "hone.tflite"
        command = [find_program(), "convert", str(model), "-o", str(out), "--no-verify"]
        for name, dims in shapes.items():
            command += ["--shape", f"{name}={'x'.join(map(str, dims))}"]
        return run_process(command, self.limit)[0], out

    def by_onnx2tf(self, model: pathlib.Path, shapes: Shapes, folder: pathlib.Path) -> Made:
        """onnx2tf tries its result on sample images, which it would fetch: random ones take their place."""
        samples = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
        np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", samples)
        shutil.copy(model, folder / "copy.onnx")  # onnx2tf simplifies its input in place
        wanted = [f"{name}:{','.join(map(str, dims))}" for name, dims in shapes.items()]
        command = [self.onnx2tf, "-c", ONNX2TF, "copy.onnx", "o2t", *wanted]
        return run_process(command, self.limit, folder)[0], folder / "o2t" / "copy_float32.tflite"

    def by_tensorflow(self, name: str, folder: pathlib.Path) -> Made:
        """Writes model.onnx too, for the other converters."""
        tflite = folder / "tf.tflite"
        command = [self.tensorflow, "-c", KERAS, name, str(folder / "model.onnx"), str(tflite)]
        said = run_process(command, self.limit)[1]
        return float(said.split("seconds")[1].split()[0]), tflite

    def versions(self) -> dict[str, str]:
        found = {name: metadata.version(name) for name in ("onnxruntime", "ai-edge-litert")}
        for python, package in ((self.onnx2tf, "onnx2tf"), (self.tensorflow, "tensorflow")):
            if python:
                said = attempt(run_process, [python, "-c", VERSION.format(package)], self.limit)
                found[package] = "absent" if isinstance(said, str) else said[1].strip()
        return found


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


def closed(dims: list[Any]) -> list[int]:
    return [d if isinstance(d, int) else SIZES.get(axis, SAMPLES) for axis, d in enumerate(dims)]


def open_shapes(model: pathlib.Path) -> Shapes:
    """The shapes that inputs with open dims get."""
    inputs = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()
    return {i.name: closed(i.shape) for i in inputs if closed(i.shape) != i.shape}


def reference(model: pathlib.Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    rng, inputs = np.random.default_rng(0), []
    for info in session.get_inputs():
        shape = closed(info.shape)
        is_float = info.type == "tensor(float)"
        value = rng.standard_normal(shape) if is_float else rng.integers(0, 10, shape)
        inputs.append(value.astype(np.float32 if is_float else np.int64))
    names = [info.name for info in session.get_inputs()]
    return inputs, [v.astype(np.float64) for v in session.run(None, dict(zip(names, inputs)))]


def interleave(runs: dict[str, Run], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each in so many rounds, fewer where they take long; who begins changes with the round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    begin = time.perf_counter()
    for turn in range(rounds if order else 0):
        if turn >= LEAST_ROUNDS and time.perf_counter() - begin > seconds:
            break
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            times[name].append(runs[name].seconds())
    return times


def compare(
    name: str, model: pathlib.Path, made: dict[str, Any], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """`made`: converter to (seconds, path), or to the message of its failure."""
    inputs, wanted = reference(model)
    rows: dict[str, dict[str, Any]] = {c: {"model": name, "converter": c} for c in made}
    times: dict[str, list[float]] = {}
    # The interpreter that is loaded first has slower memory, by some percent: half of the rounds each way.
    for order in (list(made), list(made)[::-1]):
        runs = {}
        for converter in order:
            result, row = made[converter], rows[converter]
            try:
                if isinstance(result, str):
                    raise RuntimeError(result)
                run = runs[converter] = Run(result[1], inputs, wanted)
                row |= {"seconds": result[0], "bytes": result[1].stat().st_size, "error": run.error}
                row |= {"operators": run.n_operators, "transposes": run.n_transposes}
            except (RuntimeError, ValueError, OSError) as error:
                row["failure"] = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        for converter, mine in interleave(runs, rounds // 2, seconds / 2).items():
            times.setdefault(converter, []).extend(mine)
    for converter, measured in times.items() if rounds else ():
        mine = np.array(measured)
        rows[converter] |= {"ms": float(np.median(mine) * 1e3), "fastest_ms": float(mine.min() * 1e3)}
        if "hone" in times:
            quantiles = np.quantile(mine / np.array(times["hone"]), [0.5, 0.1, 0.9])
            rows[converter]["ratio"] = [float(q) for q in quantiles]
    return list(rows.values())


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
    times = f"{row['ms']:.2f} | {row['fastest_ms']:.2f}" if "ms" in row else "|"
    return start + (
        f"{row['seconds']:.2f} | {row['bytes'] / 1e6:.2f} | {row['operators']} | {row['transposes']} | "
        f"{row['error']:.1e} | {times} | {ratio} |"
    )


def write(rows: list[dict[str, Any]], versions: dict[str, str], args: argparse.Namespace) -> None:
    text = f"""# Conversion beside other converters

Written by `bench/compare_convert.py`, which says what is measured: seconds of a whole process (TensorFlow's
converter: of the call alone), the error relative to the largest output of ONNX Runtime, LiteRT on one
thread in up to {args.rounds} rounds, {args.measure:.0f} s a model, in which the files take turns. The ratio
is of runs one after the other, median and spread; above 1: hone's file is faster. Where the machine does
other work, times are rough, and ratios and fastest times say more. onnx2tf tries its result on sample images;
random ones took their place. "fixed": converters were told to fix the dims that the model leaves open. Of a
converter that fails, the line of its output that says most; after {args.limit:.0f} s it was ended.

Versions: {", ".join(f"{name} {version}" for name, version in versions.items())}; {platform.machine()}, Python
{platform.python_version()}.

{HEAD}
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
"""
    args.output.write_text(text + "\n".join(map(line, rows)) + "\n")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def measure(
    name: str, title: str, folder: pathlib.Path, peers: Converters, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of a model: a file, or keras/NAME."""
    model, made = pathlib.Path(name), {}
    if name.startswith("keras/"):
        made["tensorflow"] = once(folder, "tensorflow", peers.by_tensorflow, name[6:])
        model = folder / "model.onnx"
    if not model.exists():
        return [{"model": title, "converter": c, "failure": f} for c, f in made.items()]
    shapes = open_shapes(model) if model.stem in args.fixed else {}
    if args.onnx2tf:
        made["onnx2tf"] = once(folder, "onnx2tf", peers.by_onnx2tf, model, shapes)
    made = {"hone": attempt(peers.by_hone, model, shapes, folder)} | made
    return compare(title, model, made, args.rounds, args.measure)


def title_of(name: str, args: argparse.Namespace) -> str:
    stem = name if name.startswith("keras/") else pathlib.Path(name).stem
    return f"{stem}, fixed" if stem in args.fixed else stem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--keras", nargs="*", default=[])
    parser.add_argument("--fixed", nargs="*", default=[], help="stems of models whose open dims to fix")
    parser.add_argument("--onnx2tf", default=sys.executable)
    parser.add_argument("--tensorflow", default=sys.executable)
    parser.add_argument("--kept", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--measure", type=float, default=20, help="seconds for the rounds of a model (20)")
    parser.add_argument("--limit", type=float, default=400, help="seconds for a conversion (400)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no model after these")
    parser.add_argument("-o", "--output", type=pathlib.Path, default="docs/conversion-comparison.md")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--resume", action="store_true", help="keep the rows that --json FILE has")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    begin = time.monotonic()
    peers = Converters(args.onnx2tf, args.tensorflow, args.limit)
    versions = peers.versions()
    has_rows = args.resume and args.json and args.json.exists()
    rows: list[dict[str, Any]] = json.loads(args.json.read_text()) if has_rows else []
    for name in [*(f"keras/{n}" for n in args.keras), *map(str, args.models)]:
        title = title_of(name, args)
        if any(row["model"] == title for row in rows):
            continue
        if time.monotonic() - begin > 60 * args.minutes:
            print(f"{args.minutes:g} minutes are over: {title} and what follows it is left (--resume)")
            break
        with tempfile.TemporaryDirectory() as temporary:
            folder = (args.kept or pathlib.Path(temporary)).absolute() / title.replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            new = measure(name, title, folder, peers, args)
        rows += new
        print("\n".join(map(line, new)), flush=True)
        write(rows, versions, args)


if __name__ == "__main__":
    main()
