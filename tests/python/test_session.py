"""The binding: values of every type, dynamic shapes, errors, threads, bytes, engine files."""

from __future__ import annotations

import pathlib
import threading

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto as P
from onnx import helper, numpy_helper

import hone

DTYPES = [
    (P.FLOAT, np.float32),
    (P.DOUBLE, np.float64),
    (P.FLOAT16, np.float16),
    (P.BFLOAT16, ml_dtypes.bfloat16),
    (P.INT8, np.int8),
    (P.UINT8, np.uint8),
    (P.INT16, np.int16),
    (P.UINT16, np.uint16),
    (P.INT32, np.int32),
    (P.UINT32, np.uint32),
    (P.INT64, np.int64),
    (P.UINT64, np.uint64),
    (P.BOOL, np.bool_),
    (P.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
    (P.FLOAT8E4M3FNUZ, ml_dtypes.float8_e4m3fnuz),
    (P.FLOAT8E5M2, ml_dtypes.float8_e5m2),
    (P.FLOAT8E5M2FNUZ, ml_dtypes.float8_e5m2fnuz),
    (P.INT4, ml_dtypes.int4),
    (P.UINT4, ml_dtypes.uint4),
    (P.FLOAT4E2M1, ml_dtypes.float4_e2m1fn),
]


def model(nodes, inputs, outputs) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    return made.SerializeToString()


def tensor(name: str, dtype: int = P.FLOAT, shape=("n", 3)):
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op: str, inputs: str, outputs: str, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


ADD = model([node("Add", "x y", "z")], [tensor("x"), tensor("y")], [tensor("z")])


def flip(dtype: int) -> bytes:
    """Transpose, which takes every element type."""
    return model(
        [node("Transpose", "x", "y", perm=[1, 0])],
        [tensor("x", dtype, ("n", "m"))],
        [tensor("y", dtype, ("m", "n"))],
    )


@pytest.mark.parametrize(("number", "dtype"), DTYPES, ids=lambda v: getattr(v, "__name__", ""))
def test_dtypes(number, dtype):
    x = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1], [1, 1, 1]]).astype(dtype)
    (y,) = hone.InferenceSession(flip(number), threads=1).run(None, {"x": x})
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x.T)


def test_negative_sub_byte_values():
    x = np.array([[-8, 7, -1], [3, -3, 0], [1, -2, 5]]).astype(ml_dtypes.int4)
    (y,) = hone.InferenceSession(flip(P.INT4), threads=1).run(None, {"x": x})
    np.testing.assert_array_equal(y.astype(int), x.T.astype(int))


@pytest.mark.parametrize("kind", [object, str])
def test_strings(kind):
    x = np.array([["a", "", "grüße"], ["日本", "x" * 300, "b"]], dtype=kind)
    (y,) = hone.InferenceSession(flip(P.STRING)).run(None, {"x": x})
    assert y.tolist() == x.T.tolist()


def test_bytes_are_strings():
    (y,) = hone.InferenceSession(flip(P.STRING)).run(None, {"x": np.array([[b"ab"]])})
    assert y.tolist() == [["ab"]]


def test_describes_inputs_and_outputs():
    session = hone.InferenceSession(ADD)
    x, y = session.get_inputs()
    assert (x.name, x.shape, x.type) == ("x", ["n", 3], "tensor(float)")
    assert y.name == "y"
    assert [o.name for o in session.get_outputs()] == ["z"]


def test_dynamic_shapes_and_layouts():
    session = hone.InferenceSession(ADD, threads=2)
    for n in (1, 7, 2, 0, 1000, 7):
        x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
        y = np.asfortranarray(x)[::1]
        np.testing.assert_array_equal(session.run(["z"], {"x": x, "y": y})[0], x + y)
    every_other = np.arange(24, dtype=np.float32).reshape(8, 3)[::2]
    big_endian = every_other.astype(">f4")
    got = session.run(None, {"x": every_other, "y": big_endian})[0]
    np.testing.assert_array_equal(got, every_other * 2)


def test_results_are_copies():
    session = hone.InferenceSession(ADD)
    x = np.ones((2, 3), np.float32)
    first = session.run(None, {"x": x, "y": x})[0]
    session.run(None, {"x": x * 5, "y": x})
    np.testing.assert_array_equal(first, x * 2)


def test_scalars():
    made = model([node("Neg", "x", "y")], [tensor("x", shape=())], [tensor("y", shape=())])
    (y,) = hone.InferenceSession(made).run(None, {"x": np.float32(3)})
    assert y.shape == () and y == -3


def test_sequences():
    of_floats = helper.make_tensor_sequence_value_info("s", P.FLOAT, None)
    made = model([node("SequenceConstruct", "x y", "s")], [tensor("x"), tensor("y")], [of_floats])
    x, y = np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32)
    (s,) = hone.InferenceSession(made).run(None, {"x": x, "y": y})
    assert [v.tolist() for v in s] == [x.tolist(), y.tolist()]
    made = model([node("SequenceLength", "s", "n")], [of_floats], [tensor("n", P.INT64, ())])
    assert hone.InferenceSession(made).run(None, {"s": [x, y, x]}) == [3]
    assert hone.InferenceSession(made).run(None, {"s": []}) == [0]


def test_maps():
    kind = helper.make_map_type_proto(P.INT64, helper.make_tensor_type_proto(P.FLOAT, None))
    of_maps = helper.make_value_info("z", helper.make_sequence_type_proto(kind))
    graph = helper.make_graph(
        [
            helper.make_node(
                "ZipMap", ["x"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[10, 20, 30]
            )
        ],
        "g",
        [tensor("x")],
        [of_maps],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("ai.onnx.ml", 4)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString()
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    (maps,) = hone.InferenceSession(made).run(None, {"x": x})
    assert maps == [{10: 1, 20: 2, 30: 3}, {10: 4, 20: 5, 30: 6}]


def test_empty_optional():
    nothing = onnx.ValueInfoProto(name="o")
    element = helper.make_tensor_type_proto(P.FLOAT, ["n", 3])
    nothing.type.CopyFrom(helper.make_optional_type_proto(element))
    has = node("OptionalHasElement", "o", "b")
    session = hone.InferenceSession(model([has], [nothing], [tensor("b", P.BOOL, ())]))
    assert session.run(None, {"o": np.ones((1, 3), np.float32)}) == [True]
    assert session.run(None, {"o": None}) == [False]


def test_errors():
    session = hone.InferenceSession(ADD)
    x = np.ones((2, 3), np.float32)
    with pytest.raises(hone.HoneError, match="not set"):
        session.run(None, {"x": x})
    with pytest.raises(hone.HoneError, match="no input 'q'"):
        session.run(None, {"x": x, "y": x, "q": x})
    with pytest.raises(hone.HoneError, match="no output 'q'"):
        session.run(["q"], {"x": x, "y": x})
    with pytest.raises(hone.HoneError, match="float64") as caught:
        session.run(None, {"x": x.astype(np.float64), "y": x})
    assert caught.value.code == "type conflict"
    with pytest.raises(hone.HoneError, match="'n' is"):
        session.run(None, {"x": x, "y": x[:1]})
    with pytest.raises(hone.HoneError, match="datetime64"):
        session.run(None, {"x": np.zeros(1, "datetime64[s]"), "y": x})
    with pytest.raises(hone.HoneError):
        hone.InferenceSession(b"not a model")
    with pytest.raises(hone.HoneError, match="missing"):
        hone.InferenceSession("missing.onnx")
    np.testing.assert_array_equal(session.run(None, {"x": x, "y": x})[0], 2 * x)


def test_error_names_the_node():
    bad = helper.make_node("NoSuchOperator", ["x"], ["z"], name="the_node")
    with pytest.raises(hone.HoneError) as caught:
        hone.InferenceSession(model([bad], [tensor("x")], [tensor("z")]))
    assert (caught.value.node, caught.value.op) == ("the_node", "NoSuchOperator")


def branch(name: str, nodes) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [tensor(name, shape=None)])


@pytest.mark.parametrize("optimize", [0, 2])
def test_branch_for_other_shapes(optimize: int):
    """A branch that conflicts with the sizes given is wrong only when it is taken."""
    axes = helper.make_tensor("axes", P.INT64, [1], [0])
    wrong = branch("e", [node("Squeeze", "x axes", "s", name="narrow"), node("Relu", "s", "e")])
    choice = node("If", "c", "y", then_branch=branch("t", [node("Neg", "x", "t")]), else_branch=wrong)
    inputs = [tensor("c", P.BOOL, []), tensor("x")]
    graph = helper.make_graph([choice], "g", inputs, [tensor("y", shape=None)], [axes])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    options = hone.SessionOptions(optimize=optimize, shapes={"x": [2, 3]})
    session = hone.InferenceSession(made.SerializeToString(), options)
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(session.run(None, {"c": np.array(True), "x": x})[0], -x)
    with pytest.raises(hone.HoneError, match="narrow"):
        session.run(None, {"c": np.array(False), "x": x})


def test_threads_share_a_session():
    session = hone.InferenceSession(ADD, threads=1)
    wrong = []

    def work(seed: int) -> None:
        x = np.full((seed + 1, 3), seed, np.float32)
        for _ in range(200):
            if not np.array_equal(session.run(None, {"x": x, "y": x})[0], 2 * x):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_engine_files(tmp_path: pathlib.Path):
    source, engine = tmp_path / "add.onnx", tmp_path / "add.hone"
    source.write_bytes(ADD)
    x = np.ones((4, 3), np.float32)
    for model_source in (source, ADD):
        hone.build(model_source, engine, shapes={"x": [(1, 4, 8), 3], "y": [(1, 4, 8), 3]})
        session = hone.InferenceSession(engine)
        np.testing.assert_array_equal(session.run(None, {"x": x, "y": x})[0], 2 * x)
    with pytest.raises(hone.HoneError, match="outside the engine's profile"):
        session.run(None, {"x": np.ones((9, 3), np.float32), "y": np.ones((9, 3), np.float32)})
    with pytest.raises(ValueError, match="tune"):
        hone.build(source, engine, tune="often")


def test_inspect_and_check(tmp_path: pathlib.Path):
    source = tmp_path / "add.onnx"
    source.write_bytes(ADD)
    assert hone.inspect(source)["nodes"] == 1
    assert all(f["severity"] == "note" for f in hone.check(source))
    with pytest.raises(hone.HoneError):
        hone.inspect(tmp_path / "missing.onnx")


@pytest.mark.parametrize("op", ("BatchNormalization", "InstanceNormalization", "GroupNormalization"))
def test_check_counts_channels(op: str, tmp_path: pathlib.Path) -> None:
    """A number for each channel, of which there are six."""
    names = ["scale", "bias", "mean", "variance"][: 4 if op == "BatchNormalization" else 2]
    extra = {"num_groups": 2} if op == "GroupNormalization" else {}
    for size, reasons in ((6, []), (4, ["shape-conflict"])):
        graph = helper.make_graph(
            [helper.make_node(op, ["x", *names], ["y"], **extra)],
            "g",
            [helper.make_tensor_value_info("x", P.FLOAT, (2, 6, 3))],
            [helper.make_tensor_value_info("y", P.FLOAT, None)],
            [numpy_helper.from_array(np.ones(size, np.float32), name) for name in names],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), tmp_path / "m.onnx")
        errors = [f["reason"] for f in hone.check(tmp_path / "m.onnx") if f["severity"] == "error"]
        assert errors == reasons


@pytest.mark.parametrize("groups", (0, 4))
def test_groups_divide_the_channels(groups: int) -> None:
    x = helper.make_tensor_value_info("x", P.FLOAT, (2, 6, 3))
    node = helper.make_node("GroupNormalization", ["x", "w", "w"], ["y"], num_groups=groups)
    weights = [numpy_helper.from_array(np.ones(6, np.float32), "w")]
    y = helper.make_tensor_value_info("y", P.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 21)]
    )
    with pytest.raises(hone.HoneError, match="do not divide 6 channels"):
        hone.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("op", ("Max", "Concat", "Sum"))
def test_operands_cannot_be_left_out(op: str) -> None:
    extra = {"axis": 0} if op == "Concat" else {}
    x, y = (helper.make_tensor_value_info(name, P.FLOAT, (3,)) for name in "xy")
    graph = helper.make_graph([helper.make_node(op, ["x", ""], ["y"], **extra)], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(hone.HoneError, match="input 1 is required"):
        hone.InferenceSession(model.SerializeToString())


def resident_bytes(path: pathlib.Path) -> int:
    """Of the mapping of a file in this process."""
    total, is_there = 0, False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            is_there = line.endswith(str(path))
        elif is_there and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_tables_are_read_in_part(tmp_path: pathlib.Path) -> None:
    table = np.arange(1 << 22, dtype=np.float32).reshape(1 << 16, 64)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "embedding",
        [helper.make_tensor_value_info("ids", P.INT64, [4])],
        [helper.make_tensor_value_info("y", P.FLOAT, [4, 64])],
        [numpy_helper.from_array(table, "table")],
    )
    model, engine = tmp_path / "model.onnx", tmp_path / "model.hone"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    hone.build(model, engine)
    session = hone.InferenceSession(engine)
    ids = np.array([5, 20_000, 40_000, 65_535])
    np.testing.assert_array_equal(session.run(None, {"ids": ids})[0], table[ids])
    assert resident_bytes(engine) < table.nbytes / 4
