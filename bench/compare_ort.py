#!/usr/bin/env python3
"""Compare hone with ONNX Runtime on the same machine, model by model.

Each model is built into an engine file, and its outputs are compared with ONNX Runtime's on the same
seeded inputs first. Then both run by turns, a few seconds each, for a number of rounds, so that a
busy machine slows both. A round gives the ratio of the medians (ONNX Runtime's latency divided by
hone's: more than 1 means that hone is faster); the table has the median, the 10th and the 90th
percentile of the rounds' ratios. "load" is the time from a file (the model for ONNX Runtime, the
engine for hone) to the first result.

usage: compare_ort.py [options] MODEL.onnx ...
needs: onnxruntime, numpy; the program hone (--hone, by default build/hone)
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def make_session(model: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def make_feeds(session: ort.InferenceSession, dims: dict[str, int]) -> dict[str, np.ndarray]:
    """Seeded noise for floats, ones for other types; open dims are those given, or 1."""
    rng = np.random.default_rng(0)
    feeds = {}
    for info in session.get_inputs():
        shape = [d if isinstance(d, int) else dims.get(d, 1) for d in info.shape]
        dtype = DTYPES[info.type]
        is_float = np.issubdtype(dtype, np.floating)
        values = rng.standard_normal(shape) if is_float else np.ones(shape)
        feeds[info.name] = values.astype(dtype)
    return feeds


def call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout


def shape_options(feeds: dict[str, np.ndarray]) -> list[str]:
    options = []
    for name, value in feeds.items():
        if value.ndim:
            options += ["--shape", f"{name}={'x'.join(map(str, value.shape))}"]
    return options


def largest_error(args, engine, session, feeds, folder: pathlib.Path) -> float:
    """The largest |hone - ONNX Runtime| of an output over the largest |ONNX Runtime| of it."""
    command = [args.hone, "run", str(engine), "--output-dir", str(folder)]
    for i, (name, value) in enumerate(feeds.items()):
        np.save(folder / f"input_{i}.npy", value)
        command += ["--input", f"{name}={folder / f'input_{i}.npy'}"]
    call(command)
    worst = 0.0
    for info, want in zip(session.get_outputs(), session.run(None, feeds)):
        got = np.load(folder / (info.name.replace("/", "_") + ".npy"))
        if got.shape != want.shape:
            raise RuntimeError(f"output {info.name} is {got.shape}, not {want.shape}")
        if want.size:
            scale = float(np.abs(want).max()) or 1.0
            error = float(np.abs(got.astype(np.float64) - want).max())
            worst = max(worst, error / scale) if np.isfinite(error) else float("inf")
    return worst


def time_ort(args, model: str, feeds) -> tuple[float, float]:
    """Median latency, and time from the file to the first result, both in milliseconds."""
    start = time.perf_counter()
    session = make_session(model, args.threads)
    session.run(None, feeds)
    load = time.perf_counter() - start
    end = time.perf_counter() + args.seconds
    times = []
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    warm = times[len(times) // 10 :]
    return float(np.median(warm)) * 1e3, load * 1e3


def time_hone(args, engine: pathlib.Path) -> tuple[float, float]:
    command = [args.hone, "bench", str(engine), "--json"]
    command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
    facts = json.loads(call(command))
    return facts["p50_ms"], facts["load_ms"] + facts["first_run_ms"]


def compare(args, model: str, dims: dict[str, int]) -> float:
    name = pathlib.Path(model).stem
    session = make_session(model, args.threads)
    feeds = make_feeds(session, dims)
    with tempfile.TemporaryDirectory() as folder:
        engine = pathlib.Path(folder) / "model.hone"
        build = [args.hone, "build", model, "-o", str(engine), "--threads", str(args.threads)]
        call(build + shape_options(feeds))
        error = largest_error(args, engine, session, feeds, pathlib.Path(folder))
        if not error <= args.tolerance:
            raise RuntimeError(f"outputs differ: {error:.2g} of the largest value")
        del session
        rounds = []
        for _ in range(args.rounds):
            rounds.append(time_ort(args, model, feeds) + time_hone(args, engine))
    ort_ms, ort_load, hone_ms, hone_load = np.median(np.array(rounds), axis=0)
    ratios = [r[0] / r[2] for r in rounds]
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    print(
        f"| {name} | {ort_ms:.2f} | {hone_ms:.2f} | {middle:.2f} | {low:.2f} | {high:.2f} "
        f"| {ort_load:.0f} | {hone_load:.0f} | {error:.1g} |",
        flush=True,
    )
    return float(middle)


def main() -> int:
    parser = argparse.ArgumentParser(description="compare hone with ONNX Runtime")
    parser.add_argument("models", nargs="+", metavar="MODEL.onnx")
    parser.add_argument("--hone", default="build/hone", help="the program (default build/hone)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2, help="for each side of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE",
                        help="size of a dynamic dim (default 1)")
    args = parser.parse_args()
    dims = {k: int(v) for k, v in (d.split("=", 1) for d in args.dim)}
    print(f"onnxruntime {ort.__version__}, {args.threads} threads, {args.rounds} rounds of "
          f"{args.seconds:g} s each\n")
    print("| model | ORT ms | hone ms | ratio | p10 | p90 | ORT load ms | hone load ms | error |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    ratios, failed = [], False
    for model in args.models:
        try:
            ratios.append(compare(args, model, dims))
        except RuntimeError as error:
            print(f"{model}: {error}", file=sys.stderr)
            failed = True
    if ratios:
        print(f"\ngeometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.2f}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
