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
case("HARD_SWISH", [[2, 50]], [2, 50], options="HardSwishOptions", types=SMALL, steps=1)
case("PRELU", [[1, 4, 4, 3], [1, 1, 3]], [1, 4, 4, 3], types=SMALL, steps=1)
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
        resize = {"halfPixelCenters": half, "alignCorners": align, "same": True, "types": (F32, I8)}
        case("RESIZE_BILINEAR", [[1, 4, 5, 2]], [1, *size, 2], [size], "ResizeBilinearOptions", steps=1,
             **resize)
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
case("BATCH_MATMUL", [[2, 3, 4], [2, 5, 4]], [2, 3, 5], options="BatchMatMulOptions", types=FLOAT, adjY=True)
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


def test_networks():
    for data in (layers(False), moves(False), moves(True), space()):
        compare(data)
