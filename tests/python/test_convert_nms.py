"""NonMaxSuppression to TensorFlow Lite: LiteRT and hone, on the file that was written, select what ONNX
Runtime selects of the original."""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

LIMITS = ("most", "iou", "score")


def constants(limits: tuple) -> list[onnx.TensorProto]:
    types = (np.int64, np.float32, np.float32)
    given = zip(LIMITS, limits, types)
    return [numpy_helper.from_array(np.array([v], t), name) for name, v, t in given if v is not None]


def suppression(limits: tuple, output: str, **attributes: int) -> onnx.NodeProto:
    names = [name if v is not None else "" for name, v in zip(LIMITS, limits)]
    return helper.make_node("NonMaxSuppression", ["boxes", "scores", *names], [output], **attributes)


def model(nodes, inputs: dict, outputs: dict, initializers) -> bytes:
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info(name, P.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, t, shape) for name, (t, shape) in outputs.items()],
        initializers,
    )
    opsets = [helper.make_opsetid("", 18)]
    bytes_: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return bytes_


def selection(limits: tuple, batch: int, classes: int, count: int | str, **attributes: int) -> bytes:
    inputs = {"boxes": (batch, count, 4), "scores": (batch, classes, count)}
    node = suppression(limits, "selected", **attributes)
    return model([node], inputs, {"selected": (P.INT64, (None, 3))}, constants(limits))


def feeds(seed: int, batch: int, classes: int, count: int) -> dict[str, np.ndarray]:
    """Boxes of which many overlap, either corner first; no two scores are equal."""
    rng = np.random.default_rng(seed)
    boxes = rng.random((batch, count, 4), np.float32)
    scores = rng.permutation(batch * classes * count).reshape(batch, classes, count)
    return {"boxes": boxes, "scores": (scores / scores.size).astype(np.float32)}


def check(bytes_: bytes, folder: pathlib.Path, *all_feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The first outputs for each of the inputs."""
    (folder / "m.onnx").write_bytes(bytes_)
    hone.convert(folder / "m.onnx", folder / "m.tflite", verify=None)
    peer = ort.InferenceSession(bytes_, providers=["CPUExecutionProvider"])
    run = interpreter.Interpreter(str(folder / "m.tflite")).get_signature_runner()
    own = hone.InferenceSession(folder / "m.tflite")
    firsts = []
    for given in all_feeds:
        names = [o.name for o in peer.get_outputs()]
        wanted = peer.run(None, given)
        by_litert = run(**given)
        by_hone = dict(zip([o.name for o in own.get_outputs()], own.run(None, given)))
        for name, want in zip(names, wanted):
            np.testing.assert_array_equal(by_litert[name], want)
            np.testing.assert_array_equal(by_hone[name], want)
        firsts.append(wanted[0])
    return firsts


FORMS = {
    "one_class": ((5, 0.3, 0.2), 1, 1, {}),
    "classes": ((4, 0.2, 0.5), 1, 5, {}),
    "batches": ((4, 0.2, 0.5), 3, 2, {}),
    "centers": ((6, 0.25, 0.1), 1, 3, {"center_point_box": 1}),
    "no_score": ((6, 0.25, None), 1, 2, {}),
    "no_overlap": ((6, None, 0.3), 1, 2, {}),
    "more_than_boxes": ((1 << 40, 0.5, 0.1), 1, 2, {}),
}


@pytest.mark.parametrize("count", (12, "n"))
@pytest.mark.parametrize("name", FORMS)
def test_form(name: str, count: int | str, tmp_path: pathlib.Path) -> None:
    limits, batch, classes, attributes = FORMS[name]
    sizes = (12, 12) if count == 12 else (12, 30, 3)
    given = [feeds(i, batch, classes, size) for i, size in enumerate(sizes)]
    found = check(selection(limits, batch, classes, count, **attributes), tmp_path, *given)
    assert all(len(f) for f in found)


def test_number_of_results_changes(tmp_path: pathlib.Path) -> None:
    """Down to none, and up again."""
    some = feeds(1, 1, 3, 12)
    none = {**some, "scores": some["scores"] * 0}
    found = check(selection((5, 0.5, 0.4), 1, 3, 12), tmp_path, some, none, some)
    assert [len(f) > 0 for f in found] == [True, False, True]


def test_overlap_equal_to_the_threshold_is_kept(tmp_path: pathlib.Path) -> None:
    boxes = np.array([[[0, 0, 1, 1], [0, 0.5, 1, 1]]], np.float32)  # half of the first
    given = {"boxes": boxes, "scores": np.array([[[0.9, 0.8]]], np.float32)}
    (found,) = check(selection((5, 0.5, 0), 1, 1, 2), tmp_path, given)
    assert len(found) == 2


def test_overlap_beyond_the_threshold_by_the_last_bit_is_dropped(tmp_path: pathlib.Path) -> None:
    boxes = np.array([[[0, 0, 1, 1], [0, 0.5, 1, 1]]], np.float32)
    given = {"boxes": boxes, "scores": np.array([[[0.9, 0.8]]], np.float32)}
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    (found,) = check(selection((5, below, 0), 1, 1, 2), tmp_path, given)
    assert len(found) == 1


def test_boxes_of_the_selected(tmp_path: pathlib.Path) -> None:
    """What a detector does with the result: class and boxes of each."""
    limits = (4, 0.3, 0.2)
    nodes = [
        suppression(limits, "selected"),
        helper.make_node("Gather", ["selected", "two"], ["at"], axis=1),
        helper.make_node("Gather", ["selected", "one"], ["labels"], axis=1),
        helper.make_node("Squeeze", ["boxes", "zero"], ["all"]),
        helper.make_node("Gather", ["all", "at"], ["found"], axis=0),
    ]
    scalars = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in (("one", 1), ("two", 2))]
    zero = numpy_helper.from_array(np.array([0], np.int64), "zero")
    outputs = {"found": (P.FLOAT, (None, 4)), "labels": (P.INT64, (None,))}
    inputs = {"boxes": (1, 20, 4), "scores": (1, 4, 20)}
    bytes_ = model(nodes, inputs, outputs, [*constants(limits), *scalars, zero])
    check(bytes_, tmp_path, feeds(3, 1, 4, 20), feeds(4, 1, 4, 20))


REFUSED = {
    "none": (selection((0, 0.5, 0.1), 1, 1, 8), "empty-tensor"),
    "missing": (selection((None, 0.5, 0.1), 1, 1, 8), "empty-tensor"),
    "all_overlaps": (selection((5, 1.0, 0.1), 1, 1, 8), "unsupported-form"),
    "too_many_classes": (selection((5, 0.5, 0.1), 1, 300, 8), "unsupported-form"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: pathlib.Path) -> None:
    bytes_, reason = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(bytes_)
    with pytest.raises(hone.ConvertError) as error:
        hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert [f["reason"] for f in error.value.findings] == [reason]
    assert error.value.findings[0]["cure"]
