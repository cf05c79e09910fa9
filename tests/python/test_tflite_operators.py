"""Single TensorFlow Lite operators, in all types that LiteRT's reference kernels take.

Results on integers are the same bit for bit, unless `steps` says by how many they may differ.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest

import hone

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
pytest.importorskip("flatbuffers")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fuzz"))

from tflite_seeds import B, Model, ints, layers, moves, s, space, weights  # noqa: E402

T = s.TensorType
F32, I8, U8, I16, I32, BOOL = T.FLOAT32, T.INT8, T.UINT8, T.INT16, T.INT32, T.BOOL
ALL, SMALL, FLOAT = (F32, I8, U8, I16), (F32, I8, U8), (F32,)


def value(m: Model, shape, kind, scale=0.05, zero=3) -> int:
    if kind in (I8, U8):
        return m.tensor(shape, kind, scale=[scale], zero=zero if kind == I8 else zero + 128)
    return m.tensor(shape, kind, scale=[scale / 100]) if kind == I16 else m.tensor(shape, kind)


def random(rng, detail, positive) -> np.ndarray:
    kind, shape = detail["dtype"], detail["shape"]
    if kind == np.float32:
        x = (rng.standard_normal(shape) * 3).astype(np.float32)
        return np.abs(x) + np.float32(0.1) if positive else x
    if kind == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    low, high = (-50, 50) if kind == np.int32 else (np.iinfo(kind).min, np.iinfo(kind).max)
    return rng.integers(1 if positive else low, high + 1, shape).astype(kind)


REFERENCE = interpreter.OpResolverType.BUILTIN_REF
#: LiteRT's other kernels, for operators whose reference kernels are wrong there: docs/tflite.md.
OPTIMISED = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def litert(data: bytes, resolver=REFERENCE):
    peer = interpreter.Interpreter(
        model_content=data, experimental_op_resolver_type=resolver, num_threads=1
    )
    peer.allocate_tensors()
    return peer


def compare(data: bytes, positive: bool = False, steps: int = 0, resolver=REFERENCE) -> None:
    peer = litert(data, resolver)
    session = hone.InferenceSession(data)
    rng = np.random.default_rng(1)
    for _ in range(5):
        feeds = {}
        for detail, io in zip(peer.get_input_details(), session.get_inputs()):
            feeds[io.name] = random(rng, detail, positive)
            peer.set_tensor(detail["index"], feeds[io.name])
        peer.invoke()
        for detail, ours in zip(peer.get_output_details(), session.run(None, feeds)):
            theirs = peer.get_tensor(detail["index"])
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            if theirs.dtype == np.float32:
                largest = np.abs(theirs).max(initial=1e-30)
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * largest)
            else:
                assert np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max(initial=0) <= steps


#: name, operator, input shapes, output shape, constant inputs, options, fields, types, how to check
CASES: list = []


def case(op, shapes, out, extra=(), options=None, types=ALL, same=False, kind=None, scale=0.06, zero=-4,
         positive=False, steps=0, resolver=REFERENCE, **fields):
    for t in types:
        name = "-".join([op, str(len(CASES)), {F32: "f32", I8: "i8", U8: "u8", I16: "i16"}.get(t, "int")])
        CASES.append(pytest.param(op, shapes, out, extra, options, t, same, kind, scale, zero, positive,
                                  steps, resolver, fields, id=name))


for op in ("Add", "Sub", "Mul"):
    case(op.upper(), [[2, 3, 4], [3, 1]], [2, 3, 4], options=op + "Options")
case("ADD", [[2, 3], [2, 3]], [2, 3], options="AddOptions", fusedActivationFunction=3)
case("DIV", [[2, 3], [2, 3]], [2, 3], options="DivOptions", types=FLOAT)
for op in ("MAXIMUM", "MINIMUM"):
    case(op, [[2, 3], [2, 3]], [2, 3], options="MaximumMinimumOptions", same=True)
case("SQUARED_DIFFERENCE", [[2, 3], [2, 3]], [2, 3], options="SquaredDifferenceOptions", types=(F32, I32))
case("FLOOR_DIV", [[2, 3], [2, 3]], [2, 3], options="FloorDivOptions", types=(F32, I32), positive=True)
case("FLOOR_MOD", [[2, 3], [2, 3]], [2, 3], options="FloorModOptions", types=(F32, I32), positive=True)
for op, options in (("EQUAL", "EqualOptions"), ("LESS", "LessOptions"), ("NOT_EQUAL", "NotEqualOptions")):
    case(op, [[2, 3], [2, 3]], [2, 3], options=options, types=(F32, I32, I8), kind=BOOL, same=True)
for op in ("RELU", "RELU6"):
    case(op, [[2, 50]], [2, 50], scale=0.04)
case("RELU_N1_TO_1", [[2, 50]], [2, 50], scale=0.04, types=SMALL)
case("LOGISTIC", [[2, 50]], [2, 50], scale=1 / 256, zero=-128, types=SMALL)
case("TANH", [[2, 50]], [2, 50], scale=1 / 128, zero=0, types=SMALL)
case("LEAKY_RELU", [[2, 50]], [2, 50], options="LeakyReluOptions", alpha=0.2, types=SMALL)
case("HARD_SWISH", [[2, 50]], [2, 50], options="HardSwishOptions", types=SMALL)
case("PRELU", [[1, 4, 4, 3], [1, 1, 3]], [1, 4, 4, 3], types=SMALL)
for approximate in (False, True):
    case("GELU", [[2, 50]], [2, 50], options="GeluOptions", types=SMALL, approximate=approximate, steps=1)
for op in ("ABS", "NEG", "SQUARE", "FLOOR", "SIN", "COS", "EXP"):
    case(op, [[2, 50]], [2, 50], types=FLOAT)
for op in ("SQRT", "RSQRT", "LOG"):
    case(op, [[2, 50]], [2, 50], types=FLOAT, positive=True)
case("SOFTMAX", [[3, 20]], [3, 20], options="SoftmaxOptions", beta=1.0, scale=1 / 256, zero=-128, types=SMALL)
case("LOG_SOFTMAX", [[3, 20]], [3, 20], options="LogSoftmaxOptions", types=FLOAT)
for keep, out in ((False, [2, 3]), (True, [2, 1, 1, 3])):
    case("MEAN", [[2, 4, 5, 3]], out, [[1, 2]], "ReducerOptions", scale=0.03, keepDims=keep)
    case("MEAN", [[2, 4, 5, 3]], out, [[1, -2]], "ReducerOptions", same=True, keepDims=keep)
    case("SUM", [[2, 4, 5, 3]], out, [[1, 2]], "ReducerOptions", types=(F32, U8), scale=0.4, keepDims=keep)
    # The reference kernel reads the bytes of int8 and int16 as uint8; the other one rounds in float.
    case("SUM", [[2, 4, 5, 3]], out, [[1, 2]], "ReducerOptions", types=(I8, I16), scale=0.4, keepDims=keep,
         resolver=OPTIMISED, steps=1)
case("SUM", [[2, 5, 3]], [2, 3], [1], "ReducerOptions", types=(F32, I32))
case("REDUCE_PROD", [[2, 3, 4]], [2, 4], [[1]], "ReducerOptions", types=(F32, I8, I16), scale=0.5)
for op in ("REDUCE_MAX", "REDUCE_MIN"):
    case(op, [[2, 4, 5, 3]], [2, 3], [[1, 2]], "ReducerOptions", same=True)
case("ARG_MAX", [[3, 20]], [3], [[1]], "ArgMaxOptions", types=(F32, I8), kind=I32, outputType=I32)
case("CUMSUM", [[3, 20]], [3, 20], [1], "CumsumOptions", types=(F32, I32), reverse=True)
# The reference kernel leaves out the window's last element.
case("LOCAL_RESPONSE_NORMALIZATION", [[1, 3, 3, 9]], [1, 3, 3, 9], types=FLOAT, resolver=OPTIMISED,
     options="LocalResponseNormalizationOptions", radius=2, bias=1.0, alpha=0.3, beta=0.7)
case("L2_NORMALIZATION", [[3, 20]], [3, 20], options="L2NormOptions", types=FLOAT)
for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
    pool = {"strideW": 2, "strideH": 2, "filterWidth": 3, "filterHeight": 3, "same": True}
    case(op, [[1, 7, 7, 3]], [1, 4, 4, 3], options="Pool2DOptions", padding=0, **pool)
    case(op, [[1, 7, 8, 3]], [1, 3, 3, 3], options="Pool2DOptions", padding=1,
         fusedActivationFunction=1, **pool)
case("PAD", [[1, 4, 4, 2]], [1, 6, 7, 2], [[[0, 0], [1, 1], [1, 2], [0, 0]]], "PadOptions", same=True)
case("TRANSPOSE", [[1, 4, 5, 2]], [1, 2, 4, 5], [[0, 3, 1, 2]], "TransposeOptions", same=True)
case("SQUEEZE", [[1, 6, 1]], [6], options="SqueezeOptions", squeezeDims=[0, 2], same=True)
case("EXPAND_DIMS", [[2, 6]], [2, 1, 6], [1], "ExpandDimsOptions", same=True)
case("SLICE", [[4, 6]], [2, 5], [[1, 1], [2, -1]], "SliceOptions", same=True)
case("STRIDED_SLICE", [[4, 6, 3]], [2, 3], [[1, 0, 1], [3, 6, 2], [1, 2, 1]], "StridedSliceOptions",
     shrinkAxisMask=4, same=True)
case("STRIDED_SLICE", [[4, 6, 3]], [4, 1, 3, 3], [[0, 0, 5], [0, 0, 0], [1, 1, -2]], "StridedSliceOptions",
     beginMask=1, endMask=5, newAxisMask=2, same=True)
case("STRIDED_SLICE", [[4, 6, 3]], [4, 6, 2], [[0, 1], [0, 3], [1, 1]], "StridedSliceOptions",
     ellipsisMask=1, same=True)
case("CONCATENATION", [[2, 3], [2, 4]], [2, 7], options="ConcatenationOptions", axis=1, same=True)
case("PACK", [[2, 3], [2, 3]], [2, 2, 3], options="PackOptions", axis=1, valuesCount=2, same=True)
case("GATHER", [[4, 6]], [3, 6], [[0, 3, 1]], "GatherOptions", axis=0, same=True)
case("TILE", [[2, 3]], [4, 3], [[2, 1]], "TileOptions", same=True, types=(F32, I8))
for half, align in ((False, False), (True, False), (False, True)):
    for size in ([8, 10], [3, 2]):
        resize = {"halfPixelCenters": half, "alignCorners": align, "same": True, "types": (F32, I8, I16)}
        case("RESIZE_BILINEAR", [[1, 4, 5, 2]], [1, *size, 2], [size], "ResizeBilinearOptions", **resize)
        case("RESIZE_NEAREST_NEIGHBOR", [[1, 4, 5, 2]], [1, *size, 2], [size],
             "ResizeNearestNeighborOptions", **resize)
case("DEPTH_TO_SPACE", [[1, 2, 2, 8]], [1, 4, 4, 2], options="DepthToSpaceOptions", blockSize=2, same=True,
     types=(F32, I8))
case("SPACE_TO_DEPTH", [[1, 4, 4, 2]], [1, 2, 2, 8], options="SpaceToDepthOptions", blockSize=2, same=True,
     types=(F32, I8))
case("SPACE_TO_BATCH_ND", [[1, 4, 3, 2]], [4, 2, 2, 2], [[2, 2], [[0, 0], [1, 0]]], "SpaceToBatchNDOptions",
     same=True, types=(F32, I8))
case("BATCH_TO_SPACE_ND", [[4, 2, 2, 2]], [1, 4, 3, 2], [[2, 2], [[0, 0], [1, 0]]], "BatchToSpaceNDOptions",
     same=True, types=(F32, I8))
case("BATCH_MATMUL", [[2, 3, 4], [2, 5, 4]], [2, 3, 5], options="BatchMatMulOptions", types=(F32, I8, I16),
     adjY=True, scale=0.3)
case("BATCH_MATMUL", [[2, 1, 3, 4], [3, 4, 5]], [2, 3, 3, 5], options="BatchMatMulOptions",
     types=(F32, I8, I16), scale=0.3)
case("QUANTIZE", [[2, 50]], [2, 50], options="QuantizeOptions", types=SMALL, kind=I8)
case("DEQUANTIZE", [[2, 50]], [2, 50], options="DequantizeOptions", types=(I8, U8, I16), kind=F32)


@pytest.mark.parametrize("op,shapes,out,extra,options,kind,same,to,scale,zero,positive,steps,resolver,fields",
                         CASES)
def test_operator(op, shapes, out, extra, options, kind, same, to, scale, zero, positive, steps, resolver,
                  fields):
    m = Model()
    xs = [value(m, d, kind, 0.05 + 0.01 * i * (not same)) for i, d in enumerate(shapes)]
    y = value(m, out, to or kind, *((0.05, 3) if same else (scale, zero)))
    m.op(getattr(B, op), xs + [ints(m, e) for e in extra], [y], options, **fields)
    compare(m.bytes(xs, [y]), positive, steps, resolver)


@pytest.mark.parametrize("op,options", [("LOGISTIC", None), ("TANH", None), ("SOFTMAX", "SoftmaxOptions")])
@pytest.mark.parametrize("scale", [5e-4, 2**-12, 2**-11, 3e-6, 1e-2])
def test_sixteen_bits(op, options, scale):
    m = Model()
    x, y = m.tensor([20, 50], I16, scale=[scale]), m.tensor([20, 50], I16, scale=[1 / 32768])
    m.op(getattr(B, op), [x], [y], options, **({"beta": 1.0} if options else {}))
    compare(m.bytes([x], [y]))


@pytest.mark.parametrize("scale", [1e-9, 1e-16, 1e-38])
def test_softmax_of_tiny_steps(scale):
    """All differences are next to nothing; LiteRT's interpreter aborts."""
    m = Model()
    x, y = m.tensor([1, 4], I8, scale=[scale]), m.tensor([1, 4], I8, scale=[1 / 256], zero=-128)
    m.op(B.SOFTMAX, [x], [y], "SoftmaxOptions", beta=1.0)
    session = hone.InferenceSession(m.bytes([x], [y]))
    feeds = {session.get_inputs()[0].name: np.array([[0, -100, 20, 127]], np.int8)}
    assert session.run(None, feeds)[0].tolist() == [[-64] * 4]


@pytest.mark.parametrize("kind,shape", [(U8, [2, 60]), (U8, [60]), (I8, [2, 60])])
def test_division(kind, shape):
    """No divisor is 0, no quotient is shifted by more than 31 bits, which LiteRT does not define."""
    m = Model()
    a, b = (m.tensor(d, kind, scale=[v], zero=0) for d, v in (([2, 60], 0.5), (shape, 0.02)))
    y = m.tensor([2, 60], kind, scale=[0.2], zero=0)
    m.op(B.DIV, [a, b], [y], "DivOptions")
    compare(m.bytes([a, b], [y]), positive=True)


@pytest.mark.parametrize("padding,shape", [(0, [1, 8, 8, 3]), (1, [1, 9, 9, 3])])
def test_transpose_conv(padding, shape):
    m = Model()
    x, w = m.tensor([1, 4, 4, 2]), weights(m, [3, 3, 3, 2], False)
    o, y = ints(m, shape), m.tensor(shape)
    m.op(B.TRANSPOSE_CONV, [o, w, x], [y], "TransposeConvOptions", padding=padding, strideW=2, strideH=2)
    compare(m.bytes([x], [y]))


@pytest.mark.parametrize("kind", [F32, I8])
def test_parts(kind):
    m = Model()
    x, ys = value(m, [4, 6], kind), [value(m, [4, 2], kind) for _ in range(3)]
    m.op(B.SPLIT, [ints(m, 1), x], ys, "SplitOptions", numSplits=3)
    zs = [value(m, [4, n], kind) for n in (1, 5)]
    m.op(B.SPLIT_V, [x, ints(m, [1, -1]), ints(m, 1)], zs, "SplitVOptions", numSplits=2)
    compare(m.bytes([x], ys + zs))


def constant(m: Model, array: np.ndarray) -> int:
    kinds = {np.float32: F32, np.int8: I8, np.int16: I16, np.int32: I32, np.int64: T.INT64, np.bool_: BOOL}
    return m.tensor(array.shape, kinds[array.dtype.type], array)


def f32(*values) -> np.ndarray:
    return np.array(values, np.float32)


def ramp(*shape) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def i32(*values) -> np.ndarray:
    return np.array(values, np.int32)


BOXES = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1],
                  [0, 100, 1, 101]], np.float32)
SCORES = f32(0.9, 0.75, 0.6, 0.95, 0.5, 0.3)
I64, C64, U32 = T.INT64, T.COMPLEX64, T.UINT32

#: operator; inputs: (shape, type) of one that is fed, or an array; outputs: (shape, type); options, fields
MORE = [
    ("EMBEDDING_LOOKUP", [i32(2, 0, 3), ([4, 5], F32)], [([3, 5], F32)], None, {}),
    ("ONE_HOT", [i32([0, 3], [-1, 7]), i32(4)[0], f32(2)[0], f32(-1)[0]], [([2, 2, 4], F32)], "OneHotOptions",
     {"axis": -1}),
    ("ONE_HOT", [i32([0, 3], [-1, 7]), i32(4)[0], i32(2)[0], i32(-1)[0]], [([4, 2, 2], I32)], "OneHotOptions",
     {"axis": 0}),
    ("SPARSE_TO_DENSE", [i32([0, 1], [2, 3]), i32(3, 4), f32(5, 6), f32(0.5)[0]], [([3, 4], F32)],
     "SparseToDenseOptions", {}),
    ("SPARSE_TO_DENSE", [i32(0, 2), i32(4), f32(5)[0], f32(0.5)[0]], [([4], F32)],
     "SparseToDenseOptions", {}),
    ("SCATTER_ND", [i32([1], [3], [1]), ([3, 2], F32), i32(5, 2)], [([5, 2], F32)], "ScatterNdOptions", {}),
    ("SCATTER_ND", [i32([1], [3], [1]), ([3, 2], I32), i32(5, 2)], [([5, 2], I32)], "ScatterNdOptions", {}),
    ("WHERE", [([3, 4], BOOL)], [([0, 2], I64)], "WhereOptions", {}),
    ("UNIQUE", [i32(3, 1, 3, 7, 1)], [([0], I32), ([5], I32)], "UniqueOptions", {"idxOutType": I32}),
    ("REVERSE_SEQUENCE", [([2, 4, 3], F32), i32(2, 4)], [([2, 4, 3], F32)], "ReverseSequenceOptions",
     {"seqDim": 1, "batchDim": 0}),
    ("REVERSE_SEQUENCE", [([4, 3, 2], F32), i32(2, 4)], [([4, 3, 2], F32)], "ReverseSequenceOptions",
     {"seqDim": 0, "batchDim": 2}),
    ("SEGMENT_SUM", [([5, 3], F32), i32(0, 0, 1, 2, 2)], [([3, 3], F32)], "SegmentSumOptions", {}),
    *[(f"UNSORTED_SEGMENT_{op.upper()}", [([5, 3], F32), i32(2, 0, 2, -1, 0), i32(4)[0]], [([4, 3], F32)],
       f"UnsortedSegment{op}Options", {}) for op in ("Sum", "Prod", "Max", "Min")],
    ("UNSORTED_SEGMENT_MAX", [([2, 2, 3], I32), i32([2, 0], [2, 1]), i32(4)[0]], [([4, 3], I32)],
     "UnsortedSegmentMaxOptions", {}),
    ("MATRIX_DIAG", [([2, 3], F32)], [([2, 3, 3], F32)], "MatrixDiagOptions", {}),
    *[("MATRIX_SET_DIAG", [([2, a, b], F32), ([2, 3], F32)], [([2, a, b], F32)], "MatrixSetDiagOptions", {})
      for a, b in ((3, 3), (3, 5), (5, 3))],
    ("NON_MAX_SUPPRESSION_V4", [BOXES, SCORES, i32(5)[0], f32(0.5)[0], f32(0.4)[0]], [([5], I32), ([], I32)],
     "NonMaxSuppressionV4Options", {}),
    ("NON_MAX_SUPPRESSION_V5", [BOXES, SCORES, i32(5)[0], f32(0.5)[0], f32(0.4)[0], f32(0)[0]],
     [([5], I32), ([5], F32), ([], I32)], "NonMaxSuppressionV5Options", {}),
    ("DYNAMIC_UPDATE_SLICE", [([4, 5, 2], F32), ([2, 1, 2], F32), i32(1, 3, 0)], [([4, 5, 2], F32)],
     "DynamicUpdateSliceOptions", {}),
    ("DYNAMIC_UPDATE_SLICE", [([4, 5], I32), ([2, 3], I32), i32(3, -1)], [([4, 5], I32)],
     "DynamicUpdateSliceOptions", {}),
    ("RANK", [([4, 5, 2], F32)], [([], I32)], "RankOptions", {}),
    ("BROADCAST_ARGS", [i32(3, 1), i32(2, 1, 4)], [([3], I32)], None, {}),
    ("ATAN2", [([3, 50], F32), ([3, 50], F32)], [([3, 50], F32)], None, {}),
    ("ATAN2", [f32(0, 1, -1, 0, 2), f32(-1, 0, 0, 1, -2)], [([5], F32)], None, {}),
    ("RIGHT_SHIFT", [([3, 4], I32), i32([1, 2, 0, 5])], [([3, 4], I32)], "RightShiftOptions", {}),
    ("RIGHT_SHIFT", [([3, 4], I8), np.array([[1, 2, 0, 5]], np.int8)], [([3, 4], I8)],
     "RightShiftOptions", {}),
    ("BITWISE_XOR", [([3, 4], I32), ([3, 4], I32)], [([3, 4], I32)], "BitwiseXorOptions", {}),
    ("BITCAST", [([3, 4], F32)], [([3, 4], I32)], "BitcastOptions", {}),
    ("BUCKETIZE", [([3, 40], F32)], [([3, 40], I32)],
     "BucketizeOptions", {"boundaries": [-2.0, 0.0, 0.5, 3.0]}),
    ("BUCKETIZE", [([3, 4], I32)], [([3, 4], I32)], "BucketizeOptions", {"boundaries": [-20.0, 0.0, 5.0]}),
    ("FAKE_QUANT", [([3, 40], F32)], [([3, 40], F32)], "FakeQuantOptions",
     {"min": -1.1, "max": 2.3, "numBits": 4}),
    *[("MIRROR_PAD", [([3, 4], F32), i32([2, 1], [0, 2])], [([6, 6], F32)],
       "MirrorPadOptions", {"mode": mode})
      for mode in (0, 1)],
    ("MIRROR_PAD", [([3, 4], F32), i32([3, 0], [0, 4])], [([6, 8], F32)], "MirrorPadOptions", {"mode": 1}),
    ("GATHER", [([2, 4, 3], F32), i32([0, 3], [2, 1])], [([2, 2, 3], F32)], "GatherOptions",
     {"axis": 1, "batchDims": 1}),
    ("GATHER", [([2, 3, 4], F32), i32([0, 3, 1], [2, 1, 0])], [([2, 3, 3], F32)], "GatherOptions",
     {"axis": 2, "batchDims": 1}),
    ("CONV_3D", [([1, 4, 5, 6, 2], F32), ramp(3, 2, 2, 2, 3), f32(1, 2, 3)], [([1, 2, 3, 3, 3], F32)],
     "Conv3DOptions", {"padding": 0, "strideD": 2, "strideW": 2, "strideH": 2, "fusedActivationFunction": 1}),
    ("CONV_3D", [([1, 4, 5, 6, 2], F32), np.ones((3, 2, 2, 2, 3), np.float32)], [([1, 2, 4, 5, 3], F32)],
     "Conv3DOptions", {"padding": 1, "strideD": 1, "strideW": 1, "strideH": 1}),
    *[("CONV_3D_TRANSPOSE", [i32(1, *size, 3), ramp(3, 3, 2, 3, 2),
                             ([1, 2, 3, 2, 2], F32)], [([1, *size, 3], F32)], "Conv3DOptions",
       {"padding": padding, "strideD": 2, "strideW": 2, "strideH": 1}) for padding, size in
      ((0, (4, 3, 4)), (1, (5, 5, 4)))],
    ("STABLEHLO_ADD", [([3, 4], F32), ([3, 4], F32)], [([3, 4], F32)], None, {}),
    ("STABLEHLO_MULTIPLY", [([3, 4], F32), ([3, 4], F32)], [([3, 4], F32)], None, {}),
    ("STABLEHLO_MAXIMUM", [([3, 4], F32), ([3, 4], F32)], [([3, 4], F32)], None, {}),
    ("STABLEHLO_MINIMUM", [([3, 4], I32), ([3, 4], I32)], [([3, 4], I32)], None, {}),
]


@pytest.mark.parametrize("op,inputs,outputs,options,fields", MORE,
                         ids=[f"{m[0]}-{i}" for i, m in enumerate(MORE)])
def test_more(op, inputs, outputs, options, fields):
    m, fed, tensors = Model(), [], []
    for x in inputs:
        tensors.append(constant(m, x) if isinstance(x, (np.ndarray, np.generic)) else m.tensor(*x))
        if isinstance(x, tuple):
            fed.append(tensors[-1])
    ys = [m.tensor(*y) for y in outputs]
    m.op(getattr(B, op), tensors, ys, options, **fields)
    if not fed:  # LiteRT wants one
        x = m.tensor([1])
        y = m.tensor([1])
        m.op(B.ABS, [x], [y])
        fed, ys = [x], [*ys, y]
    # LiteRT has no reference kernel of SEGMENT_SUM.
    compare(m.bytes(fed, ys), resolver=OPTIMISED if op == "SEGMENT_SUM" else REFERENCE)


def sparse_dim(size: int, segments=None, indices=None, kind: str = "Int32"):
    """A level of a sparse tensor: dense, or lists of what is there."""
    d = s.DimensionMetadataT()
    d.format, d.denseSize = s.DimensionType.DENSE, size
    if segments is not None:
        d.format = s.DimensionType.SPARSE_CSR
        for name, values in (("Segments", segments), ("Indices", indices)):
            vector = getattr(s, kind + "VectorT")()
            vector.values = np.array(values, getattr(np, kind.lower()))
            setattr(d, f"array{name}Type", getattr(s.SparseIndexVector, kind + "Vector"))
            setattr(d, f"array{name}", vector)
    return d


@pytest.mark.parametrize("kind", ["Int32", "Uint16", "Uint8"])
@pytest.mark.parametrize("blocks", [False, True])
def test_densify(kind, blocks):
    m = Model()
    sparse = s.SparsityParametersT()
    if blocks:  # of 2 x 2
        values = np.arange(1, 13, dtype=np.float32)
        sparse.traversalOrder, sparse.blockMap = np.arange(4, dtype=np.int32), np.array([0, 1], np.int32)
        sparse.dimMetadata = [sparse_dim(2), sparse_dim(0, [0, 1, 3], [2, 0, 1], kind), sparse_dim(2),
                              sparse_dim(2)]
    else:
        values = np.array([1, 2, 3, 4, 5], np.float32)
        sparse.traversalOrder = np.array([0, 1], np.int32)
        sparse.dimMetadata = [sparse_dim(4), sparse_dim(0, [0, 2, 2, 3, 5], [1, 5, 0, 2, 3], kind)]
    w = m.tensor([4, 6], data=values)
    m.tensors[w].sparsity = sparse
    wide, x, y = m.tensor([4, 6]), m.tensor([3, 6]), m.tensor([3, 4])
    m.op(B.DENSIFY, [w], [wide], "DensifyOptions")
    m.op(B.FULLY_CONNECTED, [x, wide, -1], [y], "FullyConnectedOptions")
    compare(m.bytes([x], [y, wide]))


@pytest.mark.parametrize("begin,end,step,masks,shape", [
    ([1, 0, 1], [3, 6, 2], [1, 2, 1], {"shrinkAxisMask": 4}, [2, 3]),
    ([0, -1, -1], [2, 0, -1], [1, 1, 1], {"shrinkAxisMask": 6}, [2]),
    ([1, 5], [9, 9], [1, -2], {"beginMask": 1, "endMask": 3}, [4, 3, 3]),
])
def test_computed_bounds(begin, end, step, masks, shape):
    m = Model()
    x, y, a, b = m.tensor([4, 6, 3]), m.tensor(shape), *(m.tensor([len(begin)], I32) for _ in range(2))
    zero = ints(m, [0] * len(begin))
    m.op(B.ADD, [ints(m, begin), zero], [a], "AddOptions")
    m.op(B.ADD, [ints(m, end), zero], [b], "AddOptions")
    m.op(B.STRIDED_SLICE, [x, a, b, ints(m, step)], [y], "StridedSliceOptions", **masks)
    compare(m.bytes([x], [y]))


@pytest.mark.parametrize("shape,size", [([4, 8], [4, 8]), ([2, 5, 6], [8, 4])])
def test_fourier_transform(shape, size):
    """Complex numbers in between: they are pairs of floats in the graph."""
    m = Model()
    half = [*shape[:-2], size[0], size[1] // 2 + 1]
    x, z = m.tensor(shape), m.tensor(half, C64)
    ys = [m.tensor(half) for _ in range(3)]
    m.op(B.RFFT2D, [x, ints(m, size)], [z], "Rfft2dOptions")
    for op, y in zip((B.REAL, B.IMAG, B.COMPLEX_ABS), ys):
        m.op(op, [z], [y])
    compare(m.bytes([x], ys))


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
def test_random(op):
    m = Model()
    y = m.tensor([1000])
    m.op(getattr(B, op), [ints(m, [1000])], [y], "RandomOptions")
    (v,) = hone.InferenceSession(m.bytes([], [y])).run(None, {})
    mean, deviation = (0.5, 12**-0.5) if op == "RANDOM_UNIFORM" else (0, 1)
    assert abs(v.mean() - mean) < 0.15 and abs(v.std() - deviation) < 0.1


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("background", [0, 1])
@pytest.mark.parametrize("per_box", [1, 2])
def test_detection(regular, background, per_box):
    from flatbuffers import flexbuffers

    if regular and per_box > 1:
        pytest.skip("LiteRT fills one class for a box")
    rng, m, n = np.random.default_rng(0), Model(), 40
    anchors = np.concatenate([rng.uniform(0, 1, (n, 2)), rng.uniform(0.1, 0.4, (n, 2))], 1).astype(np.float32)
    x, scores = m.tensor([1, n, 4]), m.tensor([1, n, 3 + background])
    ys = [m.tensor(d) for d in ([1, 6 * per_box, 4], [1, 6 * per_box], [1, 6 * per_box], [1])]
    m.op(B.CUSTOM, [x, scores, m.tensor([n, 4], data=anchors)], ys)
    m.codes[-1].customCode = "TFLite_Detection_PostProcess"
    options = flexbuffers.Builder()
    numbers = {"max_detections": 6, "max_classes_per_detection": per_box, "num_classes": 3,
               "detections_per_class": 5, "use_regular_nms": regular, "nms_score_threshold": -2.0,
               "nms_iou_threshold": 0.4, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
    with options.Map():
        for key, number in numbers.items():
            kind = {bool: options.Bool, int: options.Int, float: options.Float}[type(number)]
            kind(key, number)
    m.operators[-1].customOptions = np.frombuffer(bytes(options.Finish()), np.uint8)
    compare(m.bytes([x, scores], ys))


def test_custom_operator_without_a_name():
    m = Model()
    x, y = m.tensor([1]), m.tensor([1])
    m.op(B.CUSTOM, [x], [y])
    with pytest.raises(hone.HoneError, match="without a name"):
        hone.InferenceSession(m.bytes([x], [y]))


def test_custom_operators_are_listed():
    m = Model()
    x, y, z = (m.tensor([1, 3]) for _ in range(3))
    for name, a, b in (("Mfcc", x, y), ("AudioSpectrogram", y, z)):
        m.op(B.CUSTOM, [a], [b])
        m.codes[-1].customCode = name
    m.op(B.HASHTABLE_SIZE, [z], [m.tensor([1])], "HashtableSizeOptions")
    with pytest.raises(hone.HoneError, match=r"Mfcc, AudioSpectrogram.*HASHTABLE_SIZE"):
        hone.InferenceSession(m.bytes([x], [z]))


def packed(values: np.ndarray) -> np.ndarray:
    """Numbers of 4 bits, two to a byte."""
    flat = np.append(values.reshape(-1), [0] * (values.size % 2)).astype(np.int8)
    return ((flat[0::2] & 15) | ((flat[1::2] & 15) << 4)).astype(np.uint8)


def quantised_weights(m: Model, shape, bits: int, axis: int | None) -> int:
    rng = np.random.default_rng(11)
    most = 2 ** (bits - 1) - 1
    values = rng.integers(-most, most + 1, shape).astype(np.int8)
    scales = rng.uniform(0.005, 0.02, 1 if axis is None else shape[axis]) * 127 / most
    if bits == 4:
        return m.tensor(shape, T.INT4, packed(values), scales, axis=axis or 0)
    return m.tensor(shape, I8, values, scales, axis=axis or 0)


#: operator, shapes of input, weights, output, axis of the scales, options
LAYERS = {
    "CONV_2D": ([2, 6, 6, 4], [3, 3, 3, 4], [2, 4, 4, 3], 0, "Conv2DOptions",
                {"padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}),
    "DEPTHWISE_CONV_2D": ([2, 6, 6, 4], [1, 3, 3, 4], [2, 4, 4, 4], 3, "DepthwiseConv2DOptions",
                          {"padding": 1, "strideW": 1, "strideH": 1, "depthMultiplier": 1,
                           "dilationWFactor": 1, "dilationHFactor": 1}),
    "FULLY_CONNECTED": ([30, 8], [4, 8], [30, 4], 0, "FullyConnectedOptions", {}),
    "TRANSPOSE_CONV": ([1, 4, 4, 2], [3, 3, 3, 2], [1, 8, 8, 3], 0, "TransposeConvOptions",
                       {"padding": 0, "strideW": 2, "strideH": 2}),
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("per_axis", [False, True])
@pytest.mark.parametrize("kind,bias", [(I8, I32), (I16, T.INT64), (I16, I32), (F32, F32)])
@pytest.mark.parametrize("op", list(LAYERS))
def test_quantised_layer(op, kind, bias, per_axis, bits):
    """int8, 16x8 with both kinds of bias, hybrid; weights of 8 and 4 bits; one scale or many."""
    x_shape, w_shape, y_shape, axis, options, fields = LAYERS[op]
    if op == "DEPTHWISE_CONV_2D" and ((bits == 4 and kind != I8) or (kind == F32 and not per_axis)):
        pytest.skip("LiteRT reads these weights wrongly, or not at all")
    if op == "DEPTHWISE_CONV_2D" and kind == I16 and bias == I32:
        pytest.skip("LiteRT takes no such bias")
    m = Model()
    x, y = value(m, x_shape, kind), value(m, y_shape, kind, 0.3, -3)
    w = quantised_weights(m, w_shape, bits, axis if per_axis else None)
    array = {I32: np.int32, T.INT64: np.int64, F32: np.float32}[bias]
    scale = 0.05 / (1 if kind == I8 else 100) * m.tensors[w].quantization.scale
    values = (np.arange(y_shape[-1]) * 100).astype(array)
    b = m.tensor([y_shape[-1]], bias, values, None if kind == F32 else scale)
    if kind == I16 and op != "DEPTHWISE_CONV_2D":
        fields = {**fields, "quantizedBiasType": bias}
    inputs = [ints(m, y_shape), w, x, b] if op == "TRANSPOSE_CONV" else [x, w, b]
    m.op(getattr(B, op), inputs, [y], options, **fields)
    data = m.bytes([x], [y])
    try:
        litert(data)
    except RuntimeError as error:
        pytest.skip(f"LiteRT refuses: {error}")
    compare(data)


@pytest.mark.parametrize("kind", [T.FLOAT16, F32])
@pytest.mark.parametrize("bits", [4, 8])
def test_blockwise_weights(kind, bits):
    """Scales for blocks of a row.

    LiteRT's kernels do not read them; XNNPACK reads those of 4 bits and halves, and quantises activations to
    8 bits.
    """
    rng, m = np.random.default_rng(0), Model()
    x, y = m.tensor([3, 64]), m.tensor([3, 4])
    values = rng.integers(-7, 8, (4, 64)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, (4, 2)).astype(np.float16)
    w = m.tensor([4, 64], T.INT4 if bits == 4 else I8, packed(values) if bits == 4 else values)
    blocks = s.BlockwiseQuantizationT()
    blocks.scales = m.tensor([4, 2], kind, scales.astype(np.float32 if kind == F32 else np.float16))
    blocks.zeroPoints, blocks.blockSize = -1, 32
    quantisation = s.QuantizationParametersT()
    quantisation.detailsType = s.QuantizationDetails.BlockwiseQuantization
    quantisation.details = blocks
    m.tensors[w].quantization = quantisation
    m.op(B.FULLY_CONNECTED, [x, w, -1], [y], "FullyConnectedOptions")
    data = m.bytes([x], [y])
    fed = rng.standard_normal((3, 64)).astype(np.float32)
    (ours,) = hone.InferenceSession(data).run(None, {"t0": fed})
    expected = fed @ (values * np.repeat(scales.astype(np.float32), 32, axis=1)).T
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    if kind == T.FLOAT16 and bits == 4:
        peer = litert(data, interpreter.OpResolverType.BUILTIN)
        peer.set_tensor(peer.get_input_details()[0]["index"], fed)
        peer.invoke()
        theirs = peer.get_tensor(peer.get_output_details()[0]["index"])
        np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())


@pytest.mark.parametrize("kind", [T.FLOAT16, F32])
def test_half_weights(kind):
    m = Model()
    x, y, wide = m.tensor([3, 8]), m.tensor([3, 4]), m.tensor([4, 8])
    array = np.random.default_rng(2).standard_normal((4, 8))
    w = m.tensor([4, 8], kind, array.astype(np.float16 if kind == T.FLOAT16 else np.float32))
    if kind == T.FLOAT16:
        m.op(B.DEQUANTIZE, [w], [wide], "DequantizeOptions")
    m.op(B.FULLY_CONNECTED, [x, wide if kind == T.FLOAT16 else w, -1], [y], "FullyConnectedOptions")
    compare(m.bytes([x], [y]))


def test_networks():
    for data in (layers(False), moves(False), moves(True), space()):
        compare(data)
