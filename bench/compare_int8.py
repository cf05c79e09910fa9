"""hone convert --int8 beside TensorFlow's full-integer converter: the table in docs/tflite.md.

    python bench/compare_int8.py --tensorflow PYTHON [--data FOLDER] [--rounds N] [--kept FOLDER] [NAME ...]

PYTHON is an interpreter with TensorFlow. It makes each model as float .tflite, and of the same weights and
samples as int8 .tflite; hone makes its int8 file of the float one. NAME: of keras.applications, random
weights, statistics of batch norms from data, eight pictures of noise. With --data, the folder with mnist in
it, also a small network of separable convolutions, trained on 6,000 digits, tested on the other 2,000.

SQNR and the share of equal classes are against the float file, both by LiteRT on inputs that were no samples.
Latency: LiteRT's kernels on one thread, all files in turns, the median of the rounds. --kept: a folder for
what TensorFlow made; what is there is not made again.
"""

from __future__ import annotations

import argparse
import gzip
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import hone

LEAST_MS = 20  # of a round

MAKE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf
L, (name, folder) = keras.layers, sys.argv[1:]
data = np.load(folder + "/samples.npz")
keras.utils.set_random_seed(0)

def normed(x, layer):
    return L.ReLU(6.0)(L.BatchNormalization(momentum=0.9)(layer(x)))

def block(x, channels, stride):
    x = normed(x, L.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False))
    return normed(x, L.Conv2D(channels, 1, use_bias=False))

def digits():
    image = L.Input((28, 28, 1))
    x = block(normed(image, L.Conv2D(16, 3, padding="same", use_bias=False)), 32, 2)
    x = block(L.Add()([x, block(x, 32, 1)]), 64, 2)
    x = block(L.Add()([x, block(x, 64, 1)]), 128, 2)
    model = keras.Model(image, L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(data["train"], data["labels"], epochs=8, batch_size=64, verbose=0)
    return model

def application():
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # statistics of the data, or signals vanish
    model(data["image"], training=True)
    return model

model = digits() if name == "digits" else application()
converter = tf.lite.TFLiteConverter.from_keras_model(model)
open(folder + "/float.tflite", "wb").write(converter.convert())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in data["image"])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open(folder + "/tensorflow.tflite", "wb").write(converter.convert())
"""


def read(path: pathlib.Path, offset: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=offset)


def make(
    name: str, arguments: argparse.Namespace, folder: pathlib.Path
) -> tuple[np.ndarray, np.ndarray | None]:
    """Files of the model in the folder; inputs to test with, and what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "digits":
        images = read(arguments.data / "mnist" / "digits-8000-images-idx3-ubyte.gz", 16)
        images = images.reshape(-1, 28, 28, 1).astype(np.float32) / 255
        labels = read(arguments.data / "mnist" / "digits-8000-labels-idx1-ubyte.gz", 8).astype(np.int32)
        parts = {"image": images[2000:2100], "train": images[2000:], "labels": labels[2000:]}
        test: tuple[np.ndarray, np.ndarray | None] = images[:2000], labels[:2000]
    else:
        noise = np.random.default_rng(0).uniform(0, 255, (24, 224, 224, 3)).astype(np.float32)
        parts, test = {"image": noise[:8]}, (noise[8:], None)
    if not (folder / "tensorflow.tflite").exists():
        np.savez(folder / "samples.npz", **parts)
        command = [arguments.tensorflow, "-c", MAKE, name, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    hone.convert(
        folder / "float.tflite", folder / "hone.tflite", int8=True, calibrate=[{"image": parts["image"]}]
    )
    return test


def load(path: pathlib.Path) -> Interpreter:
    model = Interpreter(str(path), num_threads=1)
    model.allocate_tensors()
    return model


def run(model: Interpreter, image: np.ndarray) -> np.ndarray:
    model.set_tensor(model.get_input_details()[0]["index"], image[None])
    model.invoke()
    return model.get_tensor(model.get_output_details()[0]["index"])[0]


def round_ms(model: Interpreter) -> float:
    start, n = time.perf_counter(), 0
    while n == 0 or time.perf_counter() - start < LEAST_MS / 1e3:
        model.invoke()
        n += 1
    return (time.perf_counter() - start) * 1e3 / n


def rows(name: str, arguments: argparse.Namespace, folder: pathlib.Path) -> None:
    images, labels = make(name, arguments, folder)
    models = {kind: load(folder / f"{kind}.tflite") for kind in ("float", "tensorflow", "hone")}
    outputs = {kind: np.array([run(model, x) for x in images]) for kind, model in models.items()}
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(arguments.rounds):
        for kind, model in models.items():
            times[kind].append(round_ms(model))
    want = outputs["float"]
    for kind, got in outputs.items():
        noise = np.square(got - want, dtype=np.float64).sum()
        cells = [
            name,
            kind if kind == "float" else f"int8, {kind}",
            f"{(folder / f'{kind}.tflite').stat().st_size:,}",
            str(sum(op["op_name"] != "DELEGATE" for op in models[kind]._get_ops_details())),
            f"{10 * np.log10(np.square(want, dtype=np.float64).sum() / noise):.1f} dB" if noise else "",
            f"{100 * np.mean(got.argmax(1) == want.argmax(1)):.1f} %" if kind != "float" else "",
            f"{100 * np.mean(got.argmax(1) == labels):.2f} %" if labels is not None else "",
            f"{np.median(times[kind]):.3g} ms",
        ]
        print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--tensorflow", required=True, metavar="PYTHON")
    parser.add_argument("--data", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--kept", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    print("| model | file | bytes | operators | SQNR | same class | right | latency |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as made:
        for name in ["digits"] * (arguments.data is not None) + arguments.names:
            rows(name, arguments, (arguments.kept or pathlib.Path(made)) / name)


if __name__ == "__main__":
    main()
