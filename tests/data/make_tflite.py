"""Small TensorFlow Lite models with control flow and variables, as TensorFlow's converter writes them.

usage: make_tflite.py FOLDER      needs TensorFlow 2.21; writes FOLDER/*.tflite (tests/data/tflite)
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf


class Counter(tf.Module):
    """Two variables, one a scalar."""

    def __init__(self):
        self.v, self.n = tf.Variable(tf.zeros([1, 3]), name="sum"), tf.Variable(1.0, name="number")

    def call(self, x):
        self.v.assign(self.v * 0.5 + x)
        self.n.assign_add(1.0)
        return self.v + self.n


class Ring(tf.Module):
    """The last rows of a stream."""

    def __init__(self):
        self.rows = tf.Variable(tf.ones([1, 4, 2]), name="rows")

    def call(self, x):
        joined = tf.concat([self.rows, x], 1)
        self.rows.assign(joined[:, 1:])
        return tf.reduce_sum(joined, 1)


class Branches(tf.Module):
    """A variable that branches assign."""

    def __init__(self):
        self.v = tf.Variable(tf.ones([3]), name="v")

    def call(self, x):
        def yes():
            self.v.assign(self.v + x)
            return self.v * 1.0

        def no():
            self.v.assign(self.v * 0.5)
            return self.v - 1.0

        return tf.cond(tf.reduce_sum(x) > 0, yes, no)


class Turns(tf.Module):
    """A variable that a loop assigns."""

    def __init__(self):
        self.v = tf.Variable(tf.ones([3]), name="v")

    def call(self, x):
        def body(i, y):
            self.v.assign(self.v * 0.9 + y)
            return i + 1, y + self.v

        return tf.while_loop(lambda i, y: i < 3, body, [0, x])[1]


class Coder(tf.Module):
    """Two signatures, each with a graph of its own."""

    @tf.function(input_signature=[tf.TensorSpec([2, 4], name="image")])
    def encode(self, image):
        return {"code": tf.reduce_sum(image, 0) * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([4], name="code"), tf.TensorSpec([], name="gain")])
    def decode(self, code, gain):
        return {"image": tf.stack([code, -code]) * gain, "most": tf.reduce_max(code)}


def branch(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2 + 1, lambda: tf.nn.relu(x) - 3)


def loop(x):
    def body(i, v):
        return i + 1, v * 1.5 + tf.cast(i, tf.float32)

    return tf.while_loop(lambda i, v: i < 5, body, [0, x])[1]


def data_loop(x):
    return tf.while_loop(lambda v: tf.reduce_sum(v) < 100.0, lambda v: [v * 2.0 + 1.0], [tf.abs(x)])[0]


def nested(x):
    def body(i, v):
        return i + 1, tf.cond(tf.reduce_sum(v) > 0, lambda: v - 1.0, lambda: v * 3.0 + 2.0)

    return tf.while_loop(lambda i, v: i < 4, body, [0, x])[1]


def write(folder: pathlib.Path, name: str, what, shape: list[int]) -> None:
    module = what if isinstance(what, tf.Module) else tf.Module()
    function = what.call if isinstance(what, tf.Module) else what
    concrete = tf.function(function, input_signature=[tf.TensorSpec(shape)]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    (folder / f"{name}.tflite").write_bytes(converter.convert())


def write_signatures(folder: pathlib.Path) -> None:
    coder = Coder()
    with tempfile.TemporaryDirectory() as saved:
        tf.saved_model.save(coder, saved, signatures={"encode": coder.encode, "decode": coder.decode})
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["encode", "decode"])
        (folder / "signatures.tflite").write_bytes(converter.convert())


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, what, shape in (
        ("if", branch, [2, 3]),
        ("while", loop, [2, 3]),
        ("while_data", data_loop, [2, 3]),
        ("nested", nested, [2, 3]),
        ("counter", Counter(), [1, 3]),
        ("ring", Ring(), [1, 1, 2]),
        ("branches", Branches(), [3]),
        ("turns", Turns(), [3]),
    ):
        write(folder, name, what, shape)
    write_signatures(folder)


if __name__ == "__main__":
    main()
