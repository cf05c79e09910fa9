"""Compare hone with ONNX Runtime on every model of some folders, on the same seeded inputs.

Dynamic dims get several sizes; an engine with the first of them fixed is compared too, as it may take
other kernels. An output passes when |hone - ort| <= ATOL * max|ort| + RTOL * |ort| everywhere; integers
and booleans must be equal. BF16 engines (--precision bf16) are held to BF16_ATOL * max|ort|, which
networks of fifty layers come near and which unrelated answers exceed by far. With HONE_SHARED (default
../shared) the models there are compared too, and the voice detector runs over a whole recording with its
state carried.

usage: compare_ort.py [FOLDER ...] [--threads N] [--optimize 0|1|2] [--precision fp32|bf16]
Exits with 1 when anything differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import pathlib
import sys
import time
import wave
import zlib
from typing import Any

import numpy as np
import onnxruntime as ort

import hone

RTOL, ATOL = 1e-3, 1e-4
BF16_ATOL = 0.2
ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("HONE_SHARED", ROOT.parent / "shared"))
#: Sizes a dynamic dim takes in turn, by its position: small, so that every model stays quick.
SIZES = {0: (1, 3, 2), 1: (7, 16, 33), 2: (4000, 6001, 8000)}
N_CASES = 3

NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}


def make_value(name: str, kind: str, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(NUMPY[kind])
    if "mask" in name:
        return np.ones(shape, dtype)
    if name == "sr":
        return np.full(shape, 16000, dtype)
    if dtype.kind == "i":
        return rng.integers(0, 2 if "type" in name else 1000, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def shapes(session: ort.InferenceSession, case: int) -> dict[str, list[int]]:
    """Sizes for the inputs: those of the case where dims are dynamic."""
    result = {
        i.name: [
            d if isinstance(d, int) else SIZES[min(axis, 2)][case] for axis, d in enumerate(i.shape)
        ]
        for i in session.get_inputs()
    }
    if "sr" in result:  # the voice detector, whose dims have no names
        batch = SIZES[0][case]
        result["input"], result["state"] = [batch, 576], [2, batch, 128]
    return result


def cases(session: ort.InferenceSession, seed: int) -> list[dict[str, np.ndarray]]:
    """Feeds: one for a fixed model, several where dims are dynamic."""
    inputs = session.get_inputs()
    is_dynamic = any(not isinstance(d, int) for i in inputs for d in i.shape)
    result = []
    for c in range(N_CASES if is_dynamic else 1):
        rng = np.random.default_rng(seed + c)
        shape = shapes(session, c)
        result.append({i.name: make_value(i.name, i.type, shape[i.name], rng) for i in inputs})
    return result


def difference(got: Any, want: Any, rtol: float, atol: float) -> tuple[float, float, float, bool]:
    """Greatest absolute and relative difference, the tolerance, and whether all is within it."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        raise ValueError(f"got {got.dtype}{list(got.shape)}, want {want.dtype}{list(want.shape)}")
    if want.size == 0:
        return 0.0, 0.0, 0.0, True
    x, y = got.astype(np.float64), want.astype(np.float64)
    top = float(np.abs(y).max())
    if top == 0 and want.dtype.kind == "f":
        raise ValueError("the outputs are all zero, which compares nothing")
    off = np.abs(x - y)
    allowed = atol * top if want.dtype.kind == "f" else 0.0
    within = off <= allowed + (rtol * np.abs(y) if want.dtype.kind == "f" else 0)
    relative = float((off / np.maximum(np.abs(y), 1e-3 * top + 1e-30)).max())
    return float(off.max()), relative, allowed, bool(within.all())


def ort_session(path: pathlib.Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(path: pathlib.Path, options: hone.SessionOptions) -> bool:
    """Print a line of the table."""
    label = f"{path.stem:28}"
    try:
        want = ort_session(path)
        feeds = cases(want, zlib.crc32(path.stem.encode()))
        expected = [want.run(None, feed) for feed in feeds]
        del want
    except Exception as error:  # its errors share no base class
        print(f"{label} FAILED in ONNX Runtime: {str(error).splitlines()[0]}", flush=True)
        return False
    try:
        start = time.perf_counter()
        session = hone.InferenceSession(path, options)
        seconds = time.perf_counter() - start
        limits = (0.0, BF16_ATOL) if options.precision == "bf16" else (RTOL, ATOL)
        found = []
        for feed, outputs in zip(feeds, expected):
            found += [difference(g, w, *limits) for g, w in zip(session.run(None, feed), outputs)]
        if len(feeds) > 1:
            fixed = {name: value.shape for name, value in feeds[0].items()}
            session = hone.InferenceSession(path, dataclasses.replace(options, shapes=fixed))
            outputs = session.run(None, feeds[0])
            found += [difference(g, w, *limits) for g, w in zip(outputs, expected[0])]
    except (hone.HoneError, ValueError) as error:
        print(f"{label} FAILED: {error}", flush=True)
        return False
    worst_abs, worst_rel, tolerance, _ = (max(column) for column in zip(*found))
    ok = all(f[3] for f in found)
    print(
        f"{label} {worst_abs:12.3e} {worst_rel:12.3e} {tolerance:12.3e} {len(feeds):5d}"
        f" {seconds:7.2f} {'ok' if ok else 'DIFFERS'}",
        flush=True,
    )
    return ok


def speech_segments(chance: list[float], chunk: int, rate: int) -> list[tuple[float, float]]:
    """Stretches of at least 0.25 s above 0.5, gaps below 0.1 s closed."""
    segments: list[list[float]] = []
    for i, p in enumerate(chance):
        if p < 0.5:
            continue
        start, end = i * chunk / rate, (i + 1) * chunk / rate
        if segments and start - segments[-1][1] < 0.1:
            segments[-1][1] = end
        else:
            segments.append([start, end])
    return [(a, b) for a, b in segments if b - a >= 0.25]


def listen(path: pathlib.Path, sound: np.ndarray, run: Any) -> list[float]:
    """Chances of speech in each 512 samples; 64 samples before them are context."""
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros(64, np.float32)
    result = []
    for start in range(0, len(sound) - 511, 512):
        chunk = sound[start : start + 512]
        feed = {"input": np.concatenate([context, chunk])[None], "state": state}
        feed["sr"] = np.array(16000, np.int64)
        chance, state = run(None, feed)
        context = chunk[-64:]
        result.append(float(chance[0, 0]))
    return result


def compare_voice(options: hone.SessionOptions) -> bool:
    path, recording = SHARED / "models/silero_vad.onnx", SHARED / "data/silero_test.wav"
    if not path.exists() or not recording.exists():
        print(f"left out: no voice detector below {SHARED} (HONE_SHARED)")
        return True
    with wave.open(str(recording)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)
    try:
        got = listen(path, sound, hone.InferenceSession(path, options).run)
    except hone.HoneError as error:
        print(f"voice detector FAILED: {error}")
        return False
    want = listen(path, sound, ort_session(path).run)
    worst = max(abs(a - b) for a, b in zip(got, want))
    found, expected = (speech_segments(c, 512, 16000) for c in (got, want))
    print(f"\nvoice detector: {len(got)} chunks, max difference {worst:.3e}, speech in seconds:")
    print("  " + ", ".join(f"{a:.2f}-{b:.2f}" for a, b in found))
    return worst < 1e-3 and found == expected


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--optimize", type=int, default=2, choices=(0, 1, 2))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    args = parser.parse_args()
    options = hone.SessionOptions(
        intra_op_num_threads=args.threads, optimize=args.optimize, precision=args.precision
    )
    paths = []
    for place in [*args.folders, SHARED / "models"]:
        paths += [place] if place.is_file() else sorted(place.glob("*.onnx"))
    print(
        f"{'model':28} {'max abs diff':>12} {'max rel diff':>12} {'tolerance':>12} {'cases':>5}"
        f" {'build s':>7}  (rtol {RTOL}, atol {ATOL} * max|y|)"
    )
    good = []
    for path in paths:
        good.append(compare(path, options))
        gc.collect()
    if args.precision == "fp32":
        good.append(compare_voice(options))
    print(f"{sum(good)} of {len(good)} agree")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
