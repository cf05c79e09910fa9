"""ONNX to TensorFlow Lite: LiteRT's outputs equal ONNX Runtime's; refusals name every obstacle."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone
from hone import _convert

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

PROGRAM = pathlib.Path(os.environ.get("HONE_LIBRARY", "build/libhone.so")).parent / "hone"
if not PROGRAM.exists():
    pytest.skip(f"the program {PROGRAM} is not built", allow_module_level=True)

RNG = np.random.default_rng(3)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array((RNG.standard_normal(shape) * 0.3).astype(np.float32), name)


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def node(op: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(
        op, [i if i != "-" else "" for i in inputs.split()], [output], **attributes
    )


def model(nodes, shape, constants=(), out_rank=4, opset=18) -> bytes:
    x = helper.make_tensor_value_info("x", P.FLOAT, shape)
    y = helper.make_tensor_value_info("y", P.FLOAT, [None] * out_rank)
    graph = helper.make_graph(nodes, "g", [x], [y], list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return made.SerializeToString()


def convert(bytes_: bytes, folder: pathlib.Path, *options: str) -> tuple[int, dict, pathlib.Path]:
    (folder / "m.onnx").write_bytes(bytes_)
    out = folder / "m.tflite"
    command = [str(PROGRAM), "convert", str(folder / "m.onnx"), "-o", str(out), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), out


def check(
    bytes_: bytes, shape, folder: pathlib.Path, *options: str, rtol: float = 1e-5
) -> list[str]:
    status, facts, path = convert(bytes_, folder, *options)
    assert status == 0, facts
    x = RNG.standard_normal(shape).astype(np.float32)
    want = ort.InferenceSession(bytes_, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    run = interpreter.Interpreter(str(path))
    run.allocate_tensors()
    got = run.get_signature_runner()(x=x)["y"]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=rtol * max(1.0, float(np.abs(want).max())))
    return [op["op_name"] for op in run._get_ops_details()]


IMAGE = (1, 4, 9, 10)

CASES = {
    "conv_same": (
        [node("Conv", "x w b", "y", pads=[1, 1, 1, 1])],
        IMAGE,
        [weight("w", 6, 4, 3, 3), weight("b", 6)],
        4,
    ),
    "conv_stride": (
        [node("Conv", "x w", "y", pads=[1, 1, 1, 1], strides=[2, 2])],
        (1, 4, 8, 8),
        [weight("w", 6, 4, 3, 3)],
        4,
    ),
    "conv_dilated": (
        [node("Conv", "x w", "y", dilations=[2, 2])],
        IMAGE,
        [weight("w", 5, 4, 3, 3)],
        4,
    ),
    "conv_groups": ([node("Conv", "x w", "y", group=2)], IMAGE, [weight("w", 6, 2, 3, 3)], 4),
    "conv_1d": (
        [node("Conv", "x w", "y", pads=[2, 1], strides=[2])],
        (2, 4, 11),
        [weight("w", 6, 4, 3)],
        3,
    ),
    "depthwise": (
        [node("Conv", "x w", "y", group=4, pads=[0, 1, 2, 1])],
        IMAGE,
        [weight("w", 8, 1, 3, 3)],
        4,
    ),
    "conv_transpose": (
        [
            node(
                "ConvTranspose",
                "x w b",
                "y",
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                output_padding=[1, 1],
            )
        ],
        IMAGE,
        [weight("w", 4, 5, 3, 3), weight("b", 5)],
        4,
    ),
    "deconv_plain": (
        [node("ConvTranspose", "x w", "y", strides=[2, 2])],
        IMAGE,
        [weight("w", 4, 5, 2, 2)],
        4,
    ),
    "max_pool": (
        [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        IMAGE,
        [],
        4,
    ),
    "max_pool_ceil": (
        [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        (1, 4, 8, 8),
        [],
        4,
    ),
    "average_pool": (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        IMAGE,
        [],
        4,
    ),
    "average_pool_counts": (
        [
            node(
                "AveragePool", "x", "y", kernel_shape=[3, 2], pads=[1, 1, 0, 0], count_include_pad=1
            )
        ],
        IMAGE,
        [],
        4,
    ),
    "global_pool": ([node("GlobalAveragePool", "x", "y")], IMAGE, [], 4),
    "resize_nearest": (
        [
            node(
                "Resize",
                "x - - s",
                "y",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        IMAGE,
        [ints("s", 1, 4, 18, 20)],
        4,
    ),
    "resize_linear": (
        [node("Resize", "x - - s", "y", mode="linear")],
        IMAGE,
        [ints("s", 1, 4, 13, 7)],
        4,
    ),
    "shuffle": ([node("DepthToSpace", "x", "y", blocksize=2, mode="CRD")], (1, 8, 3, 5), [], 4),
    "softmax_channels": (
        [node("Conv", "x w", "c"), node("Softmax", "c", "y", axis=1)],
        IMAGE,
        [weight("w", 6, 4, 1, 1)],
        4,
    ),
    "bias_broadcast": (
        [node("Conv", "x w", "c"), node("Add", "c b", "y")],
        IMAGE,
        [weight("w", 6, 4, 1, 1), weight("b", 10)],
        4,
    ),
    "residual": (
        [
            node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
            node("Add", "c x", "s"),
            node("Relu", "s", "y"),
        ],
        IMAGE,
        [weight("w", 4, 4, 3, 3)],
        4,
    ),
    "concat_slice": (
        [
            node("Conv", "x w", "c"),
            node("Concat", "c x", "d", axis=1),
            node("Slice", "d b e a", "y"),
        ],
        IMAGE,
        [weight("w", 4, 4, 1, 1), ints("b", 1, 2), ints("e", 7, 9), ints("a", 1, 3)],
        4,
    ),
    "pad_reflect": (
        [node("Pad", "x p", "y", mode="reflect")],
        IMAGE,
        [ints("p", 0, 0, 1, 2, 0, 0, 2, 1)],
        4,
    ),
    "flatten_gemm": (
        [
            node("MaxPool", "x", "m", kernel_shape=[2, 2]),
            node("Flatten", "m", "f"),
            node("Gemm", "f w b", "y", transB=1),
        ],
        (1, 4, 4, 4),
        [weight("w", 7, 36), weight("b", 7)],
        2,
    ),
    "matmul_batch": (
        [node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "x t", "y")],
        IMAGE,
        [],
        4,
    ),
    "layer_norm": (
        [node("LayerNormalization", "x w b", "y", axis=-1)],
        (2, 5, 8),
        [weight("w", 8), weight("b", 8)],
        3,
    ),
    "group_norm": (
        [
            node("Reshape", "x s", "r"),
            node("InstanceNormalization", "r o z", "i"),
            node("Reshape", "i t", "y"),
        ],
        (2, 4, 3, 5),
        [ints("s", 0, 2, -1), ints("t", 2, 4, 3, 5), weight("o", 2), weight("z", 2)],
        4,
    ),
    "reduce": (
        [node("Conv", "x w", "c"), node("ReduceMean", "c a", "y", keepdims=0)],
        IMAGE,
        [weight("w", 6, 4, 1, 1), ints("a", 2, 3)],
        2,
    ),
    "reduce_log_sum_exp": ([node("ReduceLogSumExp", "x a", "y")], IMAGE, [ints("a", 1)], 4),
    "arg_max": ([node("ArgMax", "x", "i", axis=2), node("Cast", "i", "y", to=P.FLOAT)], IMAGE, [], 4),
    "arg_min": (
        [node("ArgMin", "x", "i", axis=1, keepdims=0), node("Cast", "i", "y", to=P.FLOAT)],
        IMAGE,
        [],
        3,
    ),
    "channel_shuffle": (
        [
            node("Conv", "x w", "c"),
            node("Reshape", "c s", "r"),
            node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]),
            node("Reshape", "t u", "y"),
        ],
        IMAGE,
        [weight("w", 6, 4, 1, 1), ints("s", 1, 2, 3, 9, 10), ints("u", 1, 6, 9, 10)],
        4,
    ),
    "gather_negative": ([node("Gather", "x i", "y", axis=2)], IMAGE, [ints("i", -1, 0, 3)], 4),
    "batch_norm": (
        [node("BatchNormalization", "x g b m v", "y")],
        IMAGE,
        [
            weight("g", 4),
            weight("b", 4),
            weight("m", 4),
            numpy_helper.from_array(np.full(4, 0.7, np.float32), "v"),
        ],
        4,
    ),
}

UNARY = [
    "Abs",
    "Neg",
    "Exp",
    "Floor",
    "Ceil",
    "Sin",
    "Cos",
    "Sigmoid",
    "Tanh",
    "HardSwish",
    "Relu",
    "Elu",
    "Celu",
    "Selu",
    "LeakyRelu",
    "ThresholdedRelu",
    "HardSigmoid",
    "Softplus",
    "Softsign",
    "Mish",
    "Erf",
    "Sign",
]


@pytest.mark.parametrize("name", CASES)
def test_form(name: str, tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES[name]
    check(model(nodes, shape, constants, rank), shape, tmp_path)


@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str, tmp_path: pathlib.Path) -> None:
    check(model([node(op, "x", "y")], (2, 3, 5), (), 3), (2, 3, 5), tmp_path, rtol=1e-5)


def test_no_transposes_inside(tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES["channel_shuffle"]
    ops = check(model(nodes, shape, constants, rank), shape, tmp_path)
    assert ops.count("TRANSPOSE") == 2  # the input, and shuffle and output in one


def test_activation_is_fused(tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES["residual"]
    ops = check(model(nodes, shape, constants, rank), shape, tmp_path)
    assert "RELU" not in ops


def test_form_of_keras(tmp_path: pathlib.Path) -> None:
    """Channels-last between the convolutions: biases and zeros around images go into them all the same."""
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a w", "b", pads=[1, 1, 1, 1]),
        node("Transpose", "b", "c", perm=[0, 2, 3, 1]),
        node("Add", "c v", "d"),
        node("Relu", "d", "e"),
        node("Pad", "e p", "f"),
        node("Transpose", "f", "g", perm=[0, 3, 1, 2]),
        node("Conv", "g u", "h", strides=[2, 2]),
        node("Transpose", "h", "y", perm=[0, 2, 3, 1]),
    ]
    constants = [weight(n, 4, 4, 3, 3) for n in "wu"] + [weight("v", 4), ints("p", 0, 0, 0, 0, 0, 1, 1, 0)]
    shape = (1, 8, 8, 4)
    ops = check(model(nodes, shape, constants), shape, tmp_path)
    assert [op for op in ops if op != "DELEGATE"] == ["CONV_2D"] * 2


def test_half_precision(tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES["conv_same"]
    bytes_ = model(nodes, shape, constants, rank)
    ops = check(bytes_, shape, tmp_path, "--fp16", rtol=2e-3)
    assert "DEQUANTIZE" in ops


def test_dynamic_batch(tmp_path: pathlib.Path) -> None:
    nodes, _, constants, rank = CASES["flatten_gemm"]
    status, _, path = convert(model(nodes, ("n", 4, 4, 4), constants, rank), tmp_path)
    assert status == 0
    run = interpreter.Interpreter(str(path))
    signature = run.get_signature_runner()
    assert signature(x=np.zeros((3, 4, 4, 4), np.float32))["y"].shape == (3, 7)


def test_all_obstacles_at_once(tmp_path: pathlib.Path) -> None:
    nodes = [node("Det", "x", "d"), node("Acosh", "d", "y")]
    status, facts, path = convert(model(nodes, (2, 3, 3), (), 1), tmp_path)
    assert status == 1 and not path.exists()
    assert [f["op"] for f in facts["findings"]] == ["Det", "Acosh"]
    assert all(f["reason"] == "no-equivalent" and f["cure"] for f in facts["findings"])


REFUSED = {
    "resize_by_parts": (
        [node("Resize", "x - s", "y", mode="linear")],
        [numpy_helper.from_array(np.array([1, 1, 0.6, 0.6], np.float32), "s")],
    ),
    "columns_last": ([node("SpaceToDepth", "x", "y", blocksize=2, mode="CRD")], []),
    "small_integers": (
        [node("Cast", "x", "c", to=P.INT8), node("Add", "c c", "d"), node("Cast", "d", "y", to=P.FLOAT)],
        [],
    ),
    "mixed_power": ([node("Pow", "x p", "y")], [ints("p", 2)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_not_what_litert_computes(name: str, tmp_path: pathlib.Path) -> None:
    nodes, constants = REFUSED[name]
    status, facts, _ = convert(model(nodes, (1, 4, 8, 6), constants, opset=28), tmp_path)
    assert status == 1
    assert facts["findings"][0]["reason"] in ("unsupported-form", "unsupported-type")


# ---- the check of what was written ----


def inexact() -> bytes:
    """Erf and Mish are composed of other operators, so that last bits differ."""
    nodes = [node("Erf", "x", "e"), node("Relu", "e", "r"), node("Mish", "r", "y")]
    return model(nodes, (2, 3, 5), (), 3)


def test_verified_by_default(tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES["residual"]
    status, facts, _ = convert(model(nodes, shape, constants, rank), tmp_path, "--nhwc-io")
    assert status == 0 and facts["verified"]
    assert facts["tensors_compared"] >= 2 and facts["outputs_max_abs"] < 1e-5


def test_difference_is_an_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.onnx").write_bytes(inexact())
    command = [str(PROGRAM), "convert", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.tflite")]
    done = subprocess.run([*command, "--rtol=0", "--atol=0"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "first tensor that differs is 'r'" in done.stderr  # Erf's, with the Relu fused
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    done = subprocess.run([*command, "--rtol=0", "--atol=0", "--no-verify"], check=False)
    assert done.returncode == 0 and (tmp_path / "m.tflite").exists()


def test_small_results_are_compared(tmp_path: pathlib.Path) -> None:
    """Errors count against the largest element, also where all are tiny."""
    tiny = [node("Erf", "x", "e"), node("Mul", "e s", "y")]
    scale = numpy_helper.from_array(np.array(1e-12, np.float32), "s")
    status, _, _ = convert(model(tiny, (2, 3, 5), [scale], 3), tmp_path, "--rtol=0", "--atol=1e-9")
    assert status == 1


def test_litert_on_request(tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES["concat_slice"]
    (tmp_path / "m.onnx").write_bytes(model(nodes, ("n", *shape[1:]), constants, rank))
    report = hone.convert(
        tmp_path / "m.onnx", tmp_path / "m.tflite", verify="litert", nhwc_io=True, shapes={"x": shape}
    )
    assert report["verified"] and report["litert_max_abs"] < 1e-5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.tflite"]


def test_litert_differs(tmp_path: pathlib.Path) -> None:
    """LiteRT's sine is another than hone's, which the program itself cannot see."""
    path = tmp_path / "m.onnx"
    path.write_bytes(model([node("Sin", "x", "y")], (2, 300, 5), (), 3))
    with pytest.raises(hone.HoneError, match=r"LiteRT computes other results.*'y'"):
        hone.convert(path, tmp_path / "m.tflite", verify="litert", rtol=0, atol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    hone.convert(path, tmp_path / "m.tflite", verify="litert", rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ("npy", "npz", "pb"))
def test_litert_runs_the_given_input(kind: str, tmp_path: pathlib.Path) -> None:
    """The sine of what is given is exact in both; that of random numbers is not."""
    path, given = tmp_path / "m.onnx", tmp_path / f"x.{kind}"
    path.write_bytes(model([node("Sin", "x", "y")], (2, 3, 4, 5), ()))
    zeros = np.zeros((2, 3, 4, 5), np.float32)
    if kind == "pb":
        onnx.save_tensor(numpy_helper.from_array(zeros, "x"), given)
    elif kind == "npy":
        np.save(given, zeros)
    else:
        np.savez(given, x=zeros)
    spec = str(given) if kind == "npz" else f"x={given}"
    command = [str(path), "-o", str(tmp_path / "m.tflite"), "--verify=litert", "--nhwc-io"]
    command += ["--rtol=0", "--atol=0"]
    assert _convert.main(command) == 1
    assert _convert.main([*command, "--input", spec]) == 0


def test_litert_obeys_the_seed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.onnx").write_bytes(model([node("Neg", "x", "y")], (2, 3, 5), (), 3))
    command = [str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.tflite"), "--verify", "litert"]
    draw, drawn = _convert._random, []
    monkeypatch.setattr(_convert, "_random", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    for seed in (1, 2, 1):
        assert _convert.main([*command, f"--seed={seed}"]) == 0
    assert np.array_equal(drawn[0], drawn[2]) and not np.array_equal(drawn[0], drawn[1])


def test_litert_gets_indices_that_exist(tmp_path: pathlib.Path) -> None:
    path = pathlib.Path(__file__).parents[1] / "data" / "tokens.onnx"
    made = hone.convert(path, tmp_path / "m.tflite", verify="litert", shapes={"ids": (1, 64)})
    assert made["litert_max_abs"] == 0


def test_litert_by_the_program(tmp_path: pathlib.Path) -> None:
    nodes, shape, constants, rank = CASES["global_pool"]
    (tmp_path / "m.onnx").write_bytes(model(nodes, shape, constants, rank))
    command = [str(PROGRAM), "convert", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.tflite")]
    package = pathlib.Path(hone.__file__).parents[1]
    environment = dict(os.environ, HONE_PYTHON=sys.executable, PYTHONPATH=str(package))
    done = subprocess.run(
        [*command, "--verify", "litert"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "by LiteRT" in done.stdout and (tmp_path / "m.tflite").exists()


def test_refusals_in_python(tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model([node("Det", "x", "y")], (2, 3, 3), (), 1))
    with pytest.raises(hone.ConvertError, match=r"obstacles, which the list names: 1\b") as caught:
        hone.convert(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert [f["reason"] for f in caught.value.findings] == ["no-equivalent"]


@pytest.mark.parametrize("kind", (np.uint8, np.int8))
def test_plain_bytes_are_padded_with_bytes(kind: type, tmp_path: pathlib.Path) -> None:
    """Pooling of integers that are no quantised numbers, with padding that is not SAME."""
    type_ = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        [node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[2, 0, 1, 2])],
        "g",
        [helper.make_tensor_value_info("x", type_, (1, 2, 5, 5))],
        [helper.make_tensor_value_info("y", type_, (1, 2, 6, 5))],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    status, facts, path = convert(made.SerializeToString(), tmp_path)
    assert status == 0, facts
    low, high = np.iinfo(kind).min, np.iinfo(kind).max // 2
    x = RNG.integers(low, high, (1, 2, 5, 5)).astype(kind)
    peer = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    want = peer.run(None, {"x": x})
    got = interpreter.Interpreter(str(path)).get_signature_runner()(x=x)["y"]
    np.testing.assert_array_equal(got, want[0])


@pytest.mark.parametrize("output", ("mean", "deviation"))
def test_outputs_without_an_equivalent(output: str, tmp_path: pathlib.Path) -> None:
    norm = helper.make_node("LayerNormalization", ["x", "w"], ["z", "mean", "deviation"], axis=-1)
    nodes = [norm, node("Identity", output, "y")]
    status, facts, path = convert(model(nodes, (2, 3, 8), [weight("w", 8)], 3), tmp_path)
    assert status == 1 and not path.exists()
    assert [f["reason"] for f in facts["findings"]] == ["unsupported-form"]


def test_a_step_beyond_all_dims(tmp_path: pathlib.Path) -> None:
    bounds = [ints("s", 1), ints("e", 2**62), ints("a", 1), ints("t", 2**61 + 1)]
    check(model([node("Slice", "x s e a t", "y")], (2, 5, 3), bounds, 3), (2, 5, 3), tmp_path)


def test_shapes_with_several_open_dims_are_refused(tmp_path: pathlib.Path) -> None:
    bytes_ = model([node("SpaceToDepth", "x", "y", blocksize=2)], (1, 1, "h", "w"))
    status, facts, path = convert(bytes_, tmp_path)
    assert status == 1 and not path.exists()
    assert [f["reason"] for f in facts["findings"]] == ["dynamic-size"]
