"""Exports of Keras models, where TensorFlow is installed."""

from __future__ import annotations

import pathlib

import pytest

keras = pytest.importorskip("keras", reason="Keras is not installed")
pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")


@pytest.mark.parametrize("exporter", ["keras", "tf2onnx"])
def test_constants_that_are_no_variables(exporter: str, tmp_path: pathlib.Path) -> None:
    import onnx

    from hone.export import export_tf

    layers = [
        keras.layers.Input((4, 3)),
        keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
        keras.layers.Dense(2),
    ]
    path = tmp_path / "m.onnx"
    result = export_tf(keras.Sequential(layers), path, exporter=exporter, seconds=0, report=False)
    assert result.is_proved, result.proof
    assert len(onnx.load(path).graph.input) == 1


def test_a_file_that_is_no_model(tmp_path: pathlib.Path) -> None:
    from hone.export import export_tf
    from hone.export.users import ModelError

    wrong = tmp_path / "m.keras"
    wrong.write_text("nothing")
    with pytest.raises(ModelError, match="cannot be loaded as a Keras file"):
        export_tf(wrong, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="neither a Keras file"):
        export_tf(tmp_path / "absent.keras", tmp_path / "m.onnx")


# ---- Keras models to TensorFlow Lite ----


def keras_model(name: str):
    """Random weights; statistics of batch norms from data, or signals vanish."""
    keras.utils.set_random_seed(0)
    options = {"weights": None, "classifier_activation": None, "input_shape": (96, 96, 3)}
    model = getattr(keras.applications, name)(**options)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(keras.random.uniform((8, 96, 96, 3), 0.0, 255.0, seed=0), training=True)
    return model


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_conversion_beside_tensorflow(name: str, tmp_path: pathlib.Path) -> None:
    """LiteRT's outputs are Keras's, with about as many operators as TensorFlow's own converter makes."""
    import numpy as np
    import tensorflow
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    import hone

    def load(content: bytes) -> Interpreter:
        # The reference kernels: others list XNNPACK's replacement for the operators too.
        return Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)

    model = keras_model(name)
    hone.export_tf(model, tmp_path / "m.onnx", seconds=0, report=False)
    hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite", verify="litert")
    ours = load((tmp_path / "m.tflite").read_bytes())
    theirs = load(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())
    runner = ours.get_signature_runner()
    (name_in,) = runner.get_input_details()
    x = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    want = np.asarray(model(x))
    (got,) = runner(**{name_in: x}).values()
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    assert len(ours._get_ops_details()) <= len(theirs._get_ops_details()) + 1
