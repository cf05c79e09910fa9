"""Float models to integer TensorFlow Lite files: samples, ranges, LiteRT's outputs, what stays on floats."""

from __future__ import annotations

import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")

import test_tflite  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get("HONE_LIBRARY", "build/libhone.so")).parent / "hone"
if not PROGRAM.exists():
    pytest.skip(f"the program {PROGRAM} is not built", allow_module_level=True)
DIGITS = pathlib.Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"


class Model:
    """A float model of one input x [1, channels, 8, 8] in the making."""

    def __init__(self, channels: int = 3) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shape = (1, channels, 8, 8)
        self.rng = np.random.default_rng(7)

    def constant(self, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.uniform(-0.5, 0.5, shape).astype(np.float32))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def conv(self, x: str, of: int, to: int, kernel: int = 3, **attributes: object) -> str:
        pads = [kernel // 2] * 4
        return self.add(
            "Conv", x, self.weights(to, of, kernel, kernel), self.weights(to), pads=pads, **attributes
        )

    def save(self, path: pathlib.Path, *outputs: str) -> pathlib.Path:
        graph = helper.make_graph(
            self.nodes,
            "m",
            [helper.make_tensor_value_info("x", P.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, P.FLOAT, None) for name in outputs],
            self.constants,
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
        return path

    def samples(self, n: int = 16) -> dict[str, np.ndarray]:
        return {"x": self.rng.uniform(-1, 2, (n, *self.shape[1:])).astype(np.float32)}


def operators(path: pathlib.Path) -> list[str]:
    return [
        op["op_name"] for op in test_tflite.litert(path)._get_ops_details() if op["op_name"] != "DELEGATE"
    ]


def run(path: pathlib.Path, x: np.ndarray) -> list[np.ndarray]:
    """LiteRT's outputs for one sample, as floats."""
    model = test_tflite.litert(path)
    (entry,) = model.get_input_details()
    if entry["dtype"] == np.int8:
        scale, zero = entry["quantization"]
        x = np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)
    model.set_tensor(entry["index"], x)
    model.invoke()
    results = []
    for detail in model.get_output_details():
        value = model.get_tensor(detail["index"])
        if value.dtype == np.int8:
            scale, zero = detail["quantization"]
            value = ((value.astype(np.int32) - zero) * scale).astype(np.float32)
        results.append(value)
    return results


def check(model: Model, folder: pathlib.Path, *outputs: str, atol: float = 0.05, **options: object) -> dict:
    """Convert; LiteRT's results are close to the float model's (relative to the largest)."""
    source, out = model.save(folder / "m.onnx", *outputs), folder / "m.tflite"
    samples = model.samples()
    report = hone.convert(source, out, int8=True, calibrate=samples, verify="litert", **options)
    assert report["quantised"] and report["verified"] and report["int8"]["samples"] == 16
    session = hone.InferenceSession(source)
    for x in samples["x"][:4]:
        for want, got in zip(session.run(None, {"x": x[None]}), run(out, x[None]), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=atol * np.abs(want).max())
    return report


def test_network(tmp_path: pathlib.Path) -> None:
    """Layers of all kinds, residuals, joins, pools: nothing is computed on floats."""
    m = Model()
    a = m.add("Relu", m.conv("x", 3, 8))
    b = m.add("Clip", m.conv(a, 1, 8, group=8), m.constant(np.float32(0)), m.constant(np.float32(6)))
    c = m.add("Add", m.conv(b, 8, 8, kernel=1), a)
    d = m.add("Concat", c, m.add("Sigmoid", c), axis=1)
    e = m.add("MaxPool", d, kernel_shape=[2, 2], strides=[2, 2])
    f = m.add("ConvTranspose", e, m.weights(16, 4, 2, 2), m.weights(4), strides=[2, 2])
    g = m.add("Flatten", m.add("GlobalAveragePool", m.add("HardSwish", f)))
    h = m.add("Gemm", g, m.weights(4, 10), m.weights(10))
    report = check(m, tmp_path, m.add("Softmax", h, axis=1))
    assert report["int8"]["nodes_on_floats"] == 0 and not report["findings"]
    ops = operators(tmp_path / "m.tflite")
    assert ops[-1] == "DEQUANTIZE" and ops.count("DEQUANTIZE") == 1
    assert "RELU" not in ops and "MINIMUM" not in ops


def test_scales(tmp_path: pathlib.Path) -> None:
    """Weights have a scale for each output and a zero point of 0, biases the product of the scales."""
    m = Model()
    check(m, tmp_path, m.conv("x", 3, 8))
    tensors = test_tflite.litert(tmp_path / "m.tflite").get_tensor_details()
    by_type = {
        t["dtype"]: t["quantization_parameters"]
        for t in tensors
        if len(t["quantization"]) and len(t["quantization_parameters"]["scales"]) == 8
    }
    assert not by_type[np.int8]["zero_points"].any() and not by_type[np.int32]["zero_points"].any()
    (entry,) = {
        t["quantization"] for t in tensors if tuple(t["shape"]) == (1, 3, 8, 8) and t["dtype"] == np.int8
    }
    np.testing.assert_allclose(by_type[np.int32]["scales"], by_type[np.int8]["scales"] * entry[0], rtol=1e-6)


@pytest.mark.parametrize("op", ["Gelu", "LeakyRelu", "Tanh", "HardSwish", "LogSoftmax"])
def test_activations(op: str, tmp_path: pathlib.Path) -> None:
    m = Model()
    report = check(m, tmp_path, m.add(op, m.conv("x", 3, 4)))
    assert report["int8"]["nodes_on_floats"] == 0


@pytest.mark.parametrize("op", ["Exp", "Erf", "Div"])
def test_floats(op: str, tmp_path: pathlib.Path) -> None:
    """Operators without a form on integers stay on floats, and the report names them."""
    m = Model()
    a = m.add("Sigmoid", m.conv("x", 3, 4))
    b = m.add(op, a, m.add("Exp", a)) if op == "Div" else m.add(op, a)
    report = check(m, tmp_path, m.conv(b, 4, 4))
    assert {f["op"] for f in report["findings"]} == {op, "Exp"} - ({"Exp"} if op == "Erf" else set())
    assert all(f["reason"] == "on-floats" and f["severity"] == "note" for f in report["findings"])


def test_decomposed(tmp_path: pathlib.Path) -> None:
    m = Model()
    a = m.conv("x", 3, 4)
    b = m.add("Mul", a, m.add("Sigmoid", a))
    c = m.add("Mul", m.add("HardSigmoid", b, alpha=1 / 6), m.add("Div", b, m.constant(np.float32(3))))
    report = check(m, tmp_path, c)
    assert report["int8"]["nodes_on_floats"] == 0
    assert "LOGISTIC" in operators(tmp_path / "m.tflite")


def test_product_with_bias(tmp_path: pathlib.Path) -> None:
    """A product of more dims has its bias in the Add behind it; two activations are multiplied, too."""
    m = Model()
    a = m.add("Add", m.add("MatMul", "x", m.weights(8, 8)), m.weights(8))
    check(m, tmp_path, m.add("MatMul", a, m.add("Transpose", a, perm=[0, 1, 3, 2])))
    ops = operators(tmp_path / "m.tflite")
    assert "ADD" not in ops and "BATCH_MATMUL" in ops


def test_integer_io(tmp_path: pathlib.Path) -> None:
    m = Model()
    y = m.add("Relu", m.conv("x", 3, 4))
    check(m, tmp_path, y, int8_io=True)
    model = test_tflite.litert(tmp_path / "m.tflite")
    assert model.get_input_details()[0]["dtype"] == model.get_output_details()[0]["dtype"] == np.int8
    assert "QUANTIZE" not in operators(tmp_path / "m.tflite")


def test_channels_last(tmp_path: pathlib.Path) -> None:
    m = Model()
    source, out = m.save(tmp_path / "m.onnx", m.conv("x", 3, 4)), tmp_path / "m.tflite"
    hone.convert(source, out, int8=True, calibrate=m.samples(), nhwc_io=True)
    assert list(test_tflite.litert(out).get_input_details()[0]["shape"]) == [1, 8, 8, 3]


def test_samples(tmp_path: pathlib.Path) -> None:
    """A file, a folder, arrays of several samples: ranges are those of all of them."""
    m = Model()
    source, out = m.save(tmp_path / "m.onnx", m.conv("x", 3, 4)), tmp_path / "m.tflite"
    x = m.samples(4)["x"]
    x[3, 0, 0, 0] = 9
    folder = tmp_path / "samples"
    folder.mkdir()
    for i in range(4):
        np.savez(folder / f"{i}.npz", x=x[i : i + 1])
    np.save(tmp_path / "all.npy", x)
    scales = []
    for samples in (folder, tmp_path / "all.npy", {"x": x}, [{"x": v[None]} for v in x]):
        report = hone.convert(source, out, int8=True, int8_io=True, calibrate=samples)
        assert report["int8"]["samples"] == 4
        scales.append(test_tflite.litert(out).get_input_details()[0]["quantization"])
    assert len(set(scales)) == 1 and scales[0][0] == pytest.approx((9 - x.min()) / 255, rel=1e-6)


def test_samples_of_an_open_batch(tmp_path: pathlib.Path) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (5, 1, 28, 28)).astype(np.float32)
    report = hone.convert(DIGITS, tmp_path / "m.tflite", int8=True, calibrate={"image": images})
    assert report["int8"]["samples"] == 5 and report["int8"]["outputs"][0]["rows"] == 5


def test_same_file_twice(tmp_path: pathlib.Path) -> None:
    m = Model()
    source = m.save(tmp_path / "m.onnx", m.conv("x", 3, 4))
    samples = m.samples()
    for name in ("a.tflite", "b.tflite"):
        hone.convert(source, tmp_path / name, int8=True, calibrate=samples)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--int8"], "--calibrate FILE.npz"),
        (["--calibrate", "random"], "is for --int8"),
        (["--int8", "--calibrate", "random", "--fp16"], "without --fp16"),
        (["--int8-io"], "is for --int8"),
        (["--int8", "--calibrate", "nowhere.npz"], "nowhere.npz"),
        (["--int8", "--calibrate", "model.txt"], ".npz or .npy"),
        (["--int8", "--calibrate", "{folder}"], "there are no .npz or .npy files"),
        (["--int8", "--calibrate", "{wrong}"], "no member 'image'"),
    ],
)
def test_misuse(arguments: list[str], word: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "wrong.npz", a=np.zeros(1), b=np.zeros(1))
    names = {"folder": tmp_path / "empty", "wrong": tmp_path / "wrong.npz"}
    words = [text.format(**names) for text in arguments]
    command = [str(PROGRAM), "convert", str(DIGITS), "-o", str(tmp_path / "m.tflite"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and word in done.stderr
    assert not (tmp_path / "m.tflite").exists()


def test_quantised_already(tmp_path: pathlib.Path) -> None:
    source = test_tflite.SHARED / "models" / "tflm_person_detect.tflite"
    if not source.exists():
        pytest.skip(f"no models in {test_tflite.SHARED}")
    with pytest.raises(hone.ConvertError, match="quantised already"):
        hone.convert(source, tmp_path / "m.tflite", int8=True, calibrate="random")


def test_random_warns(tmp_path: pathlib.Path) -> None:
    command = [str(PROGRAM), "convert", str(DIGITS), "-o", str(tmp_path / "m.tflite"), "--int8"]
    done = subprocess.run([*command, "--calibrate", "random"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "for timing only" in done.stderr


def test_digits(tmp_path: pathlib.Path) -> None:
    """Real digits: integers lose next to nothing."""
    import real_inputs

    if not (test_tflite.SHARED / "data" / "mnist").exists():
        pytest.skip("no digits")
    digits = real_inputs.digits(test_tflite.SHARED / "data", 600).astype(np.float32)[:, None]
    report = hone.convert(
        DIGITS,
        tmp_path / "m.tflite",
        shapes={"image": (1, 1, 28, 28)},
        int8=True,
        calibrate={"image": digits[:100]},
    )
    (output,) = report["int8"]["outputs"]
    assert output["same_class"] >= 99 and output["sqnr_db"] > 30
    session = hone.InferenceSession(DIGITS)
    (want,) = session.run(None, {"image": digits[100:]})
    got = [run(tmp_path / "m.tflite", x[None])[0].argmax() for x in digits[100:]]
    assert np.mean(want.argmax(1) == got) > 0.99


def sqnr(want: np.ndarray, got: np.ndarray) -> float:
    noise = np.square(got - want, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(want, dtype=np.float64).sum() / noise))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mlperf_tiny_vww_96_float", "mlperf_tiny_vww_96_int8"),
        ("mlperf_tiny_pretrainedResnet", "mlperf_tiny_pretrainedResnet_quant"),
        ("mlperf_tiny_ad01_fp32", "mlperf_tiny_ad01_int8"),
    ],
)
def test_published(name: str, published: str, tmp_path: pathlib.Path) -> None:
    """Trained networks on real inputs, half of them samples: no further from the float model than what
    TensorFlow's converter made of it."""
    import real_inputs

    folder = test_tflite.SHARED / "models"
    source, theirs, ours = folder / f"{name}.tflite", folder / f"{published}.tflite", tmp_path / "m.tflite"
    if not source.exists() or not (test_tflite.SHARED / "data" / "mnist").exists():
        pytest.skip(f"no models or no data in {test_tflite.SHARED}")
    (entry,) = test_tflite.litert(source).get_input_details()
    values = list(real_inputs.real_inputs(source, test_tflite.SHARED / "data", entry))
    hone.convert(source, ours, int8=True, int8_io=True, calibrate={"input": np.concatenate(values[::2])})
    want, *got = (np.array([run(path, x)[0] for x in values[1::2]]) for path in (source, theirs, ours))
    found = [sqnr(want, value) for value in got]
    sizes = [f"{path.stat().st_size:,} bytes" for path in (source, theirs, ours)]
    print(f"{name}: {sizes[0]}; TensorFlow {sizes[1]}, {found[0]:.1f} dB; hone {sizes[2]}, {found[1]:.1f} dB")
    assert found[1] > found[0] - 0.5
