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
