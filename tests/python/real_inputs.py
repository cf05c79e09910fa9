"""Inputs of the shared TensorFlow Lite models from shared data: digits as pictures, speech as features.

What a model was trained on sets its preprocessing; each is written out here, with numpy alone. Models on
integers get the same numbers by the scale and zero point of their input.
"""

from __future__ import annotations

import gzip
import pathlib
import wave
from collections.abc import Callable, Iterator

import numpy as np

RATE = 16000
N_PICTURES = 100


def digits(folder: pathlib.Path, n: int) -> np.ndarray:
    """[n, 28, 28] bytes. IDX: two zeros, type 8 (bytes), rank, the dims as big-endian words, the bytes."""
    data = gzip.decompress((folder / "mnist" / "digits-8000-images-idx3-ubyte.gz").read_bytes())
    dims = np.frombuffer(data, ">u4", 3, 4)
    assert data[:4] == b"\0\0\x08\x03"
    return np.frombuffer(data, np.uint8, offset=16).reshape(dims)[:n]


def enlarged(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Linear between the pixels, corners on corners."""

    def along(values: np.ndarray, size: int) -> np.ndarray:
        at = np.linspace(0, len(values) - 1, size)
        low = np.minimum(at.astype(int), len(values) - 2)
        part = (at - low)[:, None]
        return values[low] * (1 - part) + values[low + 1] * part

    return along(along(picture.astype(np.float64), height).T, width).T


def sound(folder: pathlib.Path) -> np.ndarray:
    with wave.open(str(folder / "silero_test.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0


def mel_filters(n_fft: int, n_mels: int, low: float, high: float) -> np.ndarray:
    """[n_fft / 2 + 1, n_mels] triangles, as high as wide ones, at 2595 log10(1 + f / 700)."""
    edges = np.linspace(*(2595 * np.log10(1 + np.array([low, high]) / 700)), n_mels + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    f = np.fft.rfftfreq(n_fft, 1 / RATE)[:, None]
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def spectra(samples: np.ndarray, size: int, step: int, n_fft: int) -> np.ndarray:
    """[frames, n_fft / 2 + 1] magnitudes of windows (Hann) of `size` samples, `step` apart."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::step]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.abs(np.fft.rfft(frames * hann, n_fft))


def keyword_features(samples: np.ndarray) -> np.ndarray:
    """[49, 10] cepstra of a second: windows of 30 ms each 20 ms, 40 bands of 20 to 4000 Hz."""
    bands = spectra(samples, 480, 320, 512) @ mel_filters(512, 40, 20, 4000)
    angles = np.pi / 40 * np.outer(np.arange(40) + 0.5, np.arange(10))
    return np.log(bands + 1e-6) @ np.cos(angles) * np.sqrt(2 / 40)


def machine_features(samples: np.ndarray) -> np.ndarray:
    """[n, 640]: five windows of 64 ms in decibels, in 128 bands."""
    bands = spectra(samples, 1024, 512, 1024) ** 2 @ mel_filters(1024, 128, 0, RATE / 2)
    levels = 10 * np.log10(bands + 1e-12)
    return np.stack([levels[i : i + 5].ravel() for i in range(0, len(levels) - 4, 5)])


def pictures(
    folder: pathlib.Path, shape: tuple[int, ...], offset: float, scale: float
) -> Iterator[np.ndarray]:
    for digit in digits(folder, N_PICTURES):
        picture = (enlarged(digit, shape[1], shape[2]) + offset) * scale
        yield np.broadcast_to(picture[..., None], shape[1:])


def seconds_of_speech(folder: pathlib.Path) -> Iterator[np.ndarray]:
    samples = sound(folder)
    for start in range(0, len(samples) - RATE + 1, RATE // 2):
        yield keyword_features(samples[start : start + RATE])


#: a part of the file's name: its inputs in the units that the model was trained on
SOURCES: dict[str, Callable[[pathlib.Path, tuple[int, ...]], Iterator[np.ndarray]]] = {
    "pretrainedResnet": lambda folder, shape: pictures(folder, shape, 0, 1),  # bytes
    "vww_96": lambda folder, shape: pictures(folder, shape, 0, 1 / 255),
    "person_detect": lambda folder, shape: pictures(folder, shape, 0, 1 / 255),
    "ultraface": lambda folder, shape: pictures(folder, shape, -127, 1 / 128),
    "kws": lambda folder, shape: seconds_of_speech(folder),
    "ad01": lambda folder, shape: iter(machine_features(sound(folder))),
}


def real_inputs(path: pathlib.Path, folder: pathlib.Path, detail: dict) -> Iterator[np.ndarray]:
    """Values for the one input of a model, in its type and shape; `folder` is that of the data."""
    source = next(make for name, make in SOURCES.items() if name in path.stem)
    shape, kind = tuple(detail["shape"]), np.dtype(detail["dtype"])
    scale, zero = detail["quantization"]
    for value in source(folder, shape):
        if kind.kind == "i":
            limits = np.iinfo(kind)
            steps = np.clip(np.rint(value / scale) + zero, limits.min, limits.max)
            yield steps.reshape(shape).astype(kind)
        else:
            yield value.reshape(shape).astype(kind)
