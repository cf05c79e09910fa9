"""Seeds of fuzz_tflite: models of one or a few small operators, written with LiteRT's schema.

usage: tflite_seeds.py FOLDER      writes FOLDER/*.tflite (tests/fuzz/corpus/tflite)
"""

from __future__ import annotations

import pathlib
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as s


class Model:
    """A model in the making: one subgraph."""

    def __init__(self) -> None:
        self.buffers = [s.BufferT()]
        self.tensors: list = []
        self.operators: list = []
        self.codes: list = []

    def tensor(self, shape, kind=s.TensorType.FLOAT32, data=None, scale=None, zero=0, axis=0):
        t = s.TensorT()
        t.shape, t.type, t.name = np.array(shape, np.int32), kind, f"t{len(self.tensors)}"
        t.buffer = 0
        if data is not None:
            t.buffer = len(self.buffers)
            b = s.BufferT()
            b.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(b)
        if scale is not None:
            q = s.QuantizationParametersT()
            q.scale = np.atleast_1d(np.array(scale, np.float32))
            q.zeroPoint = np.full(len(q.scale), zero, np.int64)
            q.quantizedDimension = axis
            t.quantization = q
        self.tensors.append(t)
        return len(self.tensors) - 1

    def variable(self, shape, kind=s.TensorType.FLOAT32, scale=None, zero=0):
        """A tensor that keeps its contents from run to run."""
        t = self.tensor(shape, kind, scale=scale, zero=zero)
        self.tensors[t].isVariable = True
        return t

    def op(self, code, inputs, outputs, options=None, intermediates=None, **fields):
        c = s.OperatorCodeT()
        c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), 1
        self.codes.append(c)
        o = s.OperatorT()
        o.opcodeIndex = len(self.codes) - 1
        o.inputs, o.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        if intermediates is not None:
            o.intermediates = np.array(intermediates, np.int32)
        if options:
            o.builtinOptions = getattr(s, options + "T")()
            o.builtinOptionsType = getattr(s.BuiltinOptions, options)
            for name, value in fields.items():
                setattr(o.builtinOptions, name, value)
        self.operators.append(o)

    def bytes(self, inputs, outputs) -> bytes:
        g = s.SubGraphT()
        g.tensors, g.operators = self.tensors, self.operators
        g.inputs, g.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        m = s.ModelT()
        m.version, m.operatorCodes, m.subgraphs, m.buffers = 3, self.codes, [g], self.buffers
        builder = flatbuffers.Builder(256)
        builder.Finish(m.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


B, I8, I32 = s.BuiltinOperator, s.TensorType.INT8, s.TensorType.INT32
RNG = np.random.default_rng(0)
UNARY = "RELU RELU6 LOGISTIC TANH ELU EXP ABS NEG SQRT SQUARE RSQRT FLOOR HARD_SWISH LOG"
BINARY = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions"}
PLAIN = "MAXIMUM MINIMUM POW SQUARED_DIFFERENCE FLOOR_DIV FLOOR_MOD EQUAL LESS"


def weights(m, shape, is_int):
    if is_int:
        return m.tensor(shape, I8, RNG.integers(-127, 128, shape, np.int8), [0.02])
    return m.tensor(shape, data=RNG.standard_normal(shape).astype(np.float32))


def activation(m, shape, is_int):
    return m.tensor(shape, I8, scale=[0.05], zero=3) if is_int else m.tensor(shape)


def ints(m, values):
    return m.tensor(np.shape(values), I32, np.array(values, np.int32))


def layers(is_int: bool):
    """Layers with weights, pooling and softmax."""

    def bias(m, n):
        if is_int:
            return m.tensor([n], I32, np.arange(n, dtype=np.int32))
        return m.tensor([n], data=np.ones(n, np.float32))

    m = Model()
    x, y, z = (activation(m, d, is_int) for d in ([1, 6, 6, 2], [1, 3, 3, 3], [1, 3, 3, 3]))
    p, f, v, o = (activation(m, d, is_int) for d in ([1, 1, 1, 3], [1, 3], [1, 4], [1, 4]))
    conv = dict(strideW=2, strideH=2, dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=1)
    m.op(B.CONV_2D, [x, weights(m, [3, 3, 3, 2], is_int), bias(m, 3)], [y], "Conv2DOptions", **conv)
    m.op(B.DEPTHWISE_CONV_2D, [y, weights(m, [1, 3, 3, 3], is_int), bias(m, 3)], [z],
         "DepthwiseConv2DOptions", strideW=1, strideH=1, depthMultiplier=1, dilationWFactor=1,
         dilationHFactor=1)
    m.op(B.AVERAGE_POOL_2D, [z], [p], "Pool2DOptions", padding=1, strideW=3, strideH=3, filterWidth=3,
         filterHeight=3)
    m.op(B.RESHAPE, [p, ints(m, [1, 3])], [f], "ReshapeOptions", newShape=[1, 3])
    m.op(B.FULLY_CONNECTED, [f, weights(m, [4, 3], is_int), bias(m, 4)], [v], "FullyConnectedOptions")
    m.op(B.SOFTMAX, [v], [o], "SoftmaxOptions", beta=1.0)
    return m.bytes([x], [o])


def moves(is_int: bool):
    m = Model()
    dims = [[1, 4, 4, 2], [1, 6, 6, 2], [1, 2, 6, 6], [1, 2, 3, 3], [2, 2, 3, 3], [2, 2, 3], [1, 2, 3],
            [2, 3]]
    t = [activation(m, d, is_int) for d in dims]
    m.op(B.PAD, [t[0], ints(m, [[0, 0], [1, 1], [1, 1], [0, 0]])], [t[1]], "PadOptions")
    m.op(B.TRANSPOSE, [t[1], ints(m, [0, 3, 1, 2])], [t[2]], "TransposeOptions")
    m.op(B.STRIDED_SLICE, [t[2], ints(m, [0, 0, 0, 0]), ints(m, [1, 2, 6, 6]), ints(m, [1, 1, 2, 2])],
         [t[3]], "StridedSliceOptions")
    m.op(B.CONCATENATION, [t[3], t[3]], [t[4]], "ConcatenationOptions", axis=0)
    m.op(B.GATHER, [t[4], ints(m, 1)], [t[5]], "GatherOptions", axis=2)
    m.op(B.SLICE, [t[5], ints(m, [1, 0, 0]), ints(m, [1, -1, -1])], [t[6]], "SliceOptions")
    m.op(B.SQUEEZE, [t[6]], [t[7]], "SqueezeOptions", squeezeDims=[0])
    return m.bytes([t[0]], [t[7]])


def space():
    m = Model()
    dims = [[1, 4, 4, 4], [4, 2, 2, 4], [1, 4, 4, 4], [1, 8, 8, 1], [1, 4, 4, 1], [1, 2, 2, 4], [1, 4]]
    t = [m.tensor(d) for d in dims]
    zero = ints(m, [[0, 0], [0, 0]])
    m.op(B.SPACE_TO_BATCH_ND, [t[0], ints(m, [2, 2]), zero], [t[1]], "SpaceToBatchNDOptions")
    m.op(B.BATCH_TO_SPACE_ND, [t[1], ints(m, [2, 2]), zero], [t[2]], "BatchToSpaceNDOptions")
    m.op(B.DEPTH_TO_SPACE, [t[2]], [t[3]], "DepthToSpaceOptions", blockSize=2)
    m.op(B.RESIZE_BILINEAR, [t[3], ints(m, [4, 4])], [t[4]], "ResizeBilinearOptions", halfPixelCenters=True)
    m.op(B.SPACE_TO_DEPTH, [t[4]], [t[5]], "SpaceToDepthOptions", blockSize=2)
    m.op(B.MEAN, [t[5], ints(m, [1, 2])], [t[6]], "ReducerOptions")
    return m.bytes([t[0]], [t[6]])


def lstm(is_int: bool):
    """A layer with projection and layer normalisation."""
    m = Model()
    batch, time, n, cells, outputs = 2, 3, 4, 6, 5
    kinds = s.TensorType

    def vector(length):
        if is_int:
            return m.tensor([length], kinds.INT16, np.full(length, 4000, np.int16), [1 / 8192])
        return weights(m, [length], False)

    def bias(length):
        if is_int:
            return m.tensor([length], I32, np.arange(length, dtype=np.int32), [4e-4])
        return weights(m, [length], False)

    x, y = activation(m, [batch, time, n], is_int), activation(m, [batch, time, outputs], is_int)
    inputs = [x, *(weights(m, [cells, n], is_int) for _ in range(4))]
    inputs += [*(weights(m, [cells, outputs], is_int) for _ in range(4)), -1, -1, -1]
    inputs += [*(bias(cells) for _ in range(4)), weights(m, [outputs, cells], is_int), bias(outputs)]
    if is_int:
        inputs += [m.variable([batch, outputs], I8, [0.05], 3),
                   m.variable([batch, cells], kinds.INT16, [2**-11])]
    else:
        inputs += [m.variable([batch, outputs]), m.variable([batch, cells])]
    inputs += [vector(cells) for _ in range(4)]
    inner = [m.tensor([1], kinds.INT16, scale=[2**-10]) for _ in range(4)]
    inner.append(m.tensor([1], I8, scale=[1 / 128]))
    m.op(B.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [y], "UnidirectionalSequenceLSTMOptions", inner,
         fusedActivationFunction=4, cellClip=1.0)
    return m.bytes([x], [y])


def recurrent():
    """SVDF, both directions of an RNN."""
    m = Model()
    x, f, z = m.tensor([1, 4]), m.tensor([1, 3]), m.tensor([1, 1, 3])
    m.op(B.SVDF, [x, weights(m, [6, 4], True), weights(m, [6, 2], True), weights(m, [3], False),
                  m.variable([1, 12])], [f], "SVDFOptions", rank=2, fusedActivationFunction=1)
    m.op(B.RESHAPE, [f, ints(m, [1, 1, 3])], [z], "ReshapeOptions", newShape=[1, 1, 3])
    inputs = [z]
    for _ in range(2):
        inputs += [weights(m, [2, 3], False), weights(m, [2, 2], False), weights(m, [2], False),
                   m.variable([1, 2])]
    y = m.tensor([1, 1, 4])
    m.op(B.BIDIRECTIONAL_SEQUENCE_RNN, [*inputs, -1, -1, -1], [y], "BidirectionalSequenceRNNOptions",
         timeMajor=True, fusedActivationFunction=4, mergeOutputs=True)
    return m.bytes([x], [y])


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    seeds = {"layers": layers(False), "layers_int8": layers(True), "moves": moves(False),
             "moves_int8": moves(True), "space": space(), "lstm": lstm(False), "lstm_int8": lstm(True),
             "recurrent": recurrent()}
    for is_int in (False, True):
        m = Model()
        at = x = activation(m, [2, 3], is_int)
        for name in UNARY.split():
            y = m.tensor([2, 3], I8, scale=[1 / 256], zero=-128) if is_int else m.tensor([2, 3])
            m.op(getattr(B, name), [at], [y])
            at = y
        for name in [*BINARY, *(n for n in PLAIN.split() if n not in ("EQUAL", "LESS"))]:
            y = activation(m, [2, 3], is_int)
            m.op(getattr(B, name), [at, x], [y], BINARY.get(name))
            at = y
        seeds[f"elements{'_int8' * is_int}"] = m.bytes([x], [at])
    for name, data in seeds.items():
        (folder / f"{name}.tflite").write_bytes(data)


if __name__ == "__main__":
    main()
