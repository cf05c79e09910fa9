"""Recurrent layers of TensorFlow Lite, run after run: LiteRT's reference kernels and hone agree.

On integers bit for bit. In hybrid layers (int8 weights, float activations) a last bit of a float may decide
which way an activation is rounded, hence the wider limit there.
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

from tflite_seeds import B, Model, s  # noqa: E402

T = s.TensorType
F32, I8, I16, I32 = T.FLOAT32, T.INT8, T.INT16, T.INT32
NONE, RELU, RELU6, TANH = 0, 1, 3, 4
RNG = np.random.default_rng(3)


class Layer(Model):
    """Weights of one kind: "float", "hybrid" or "int8"."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def floats(self, *shape) -> int:
        return self.tensor(shape, data=(RNG.standard_normal(shape) * 0.4).astype(np.float32))

    def matrix(self, *shape) -> int:
        if self.kind == "float":
            return self.floats(*shape)
        return self.tensor(shape, I8, RNG.integers(-127, 128, shape, np.int8), [0.006])

    def vector(self, n: int, scale: float = 1 / 8192) -> int:
        """Layer normalisation."""
        if self.kind != "int8":
            return self.floats(n)
        return self.tensor([n], I16, RNG.integers(-8000, 8000, n).astype(np.int16), [scale])

    def peephole(self, n: int) -> int:
        if self.kind == "hybrid":
            return self.tensor([n], I8, RNG.integers(-127, 128, n, np.int8), [0.006])
        return self.vector(n)

    def bias(self, n: int) -> int:
        if self.kind != "int8":
            return self.floats(n)
        return self.tensor([n], I32, RNG.integers(-900, 900, n).astype(np.int32), [0.02 * 0.006])

    def activation(self, *shape) -> int:
        return self.tensor(shape, I8, scale=[0.02], zero=5) if self.kind == "int8" else self.tensor(shape)


def compare(data: bytes, limit: float) -> None:
    reference = interpreter.OpResolverType.BUILTIN_REF
    peer = interpreter.Interpreter(model_content=data, experimental_op_resolver_type=reference, num_threads=1)
    peer.allocate_tensors()
    session = hone.InferenceSession(data)
    rng = np.random.default_rng(1)
    detail = peer.get_input_details()[0]
    name = session.get_inputs()[0].name
    for _ in range(4):
        x = rng.standard_normal(detail["shape"]).astype(np.float32)
        if detail["dtype"] == np.int8:
            x = np.clip(np.round(x / 0.02) + 5, -128, 127).astype(np.int8)
        peer.set_tensor(detail["index"], x)
        peer.invoke()
        for out, ours in zip(peer.get_output_details(), session.run(None, {name: x})):
            theirs = peer.get_tensor(out["index"])
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            if theirs.dtype == np.int8:
                np.testing.assert_array_equal(ours, theirs)
            else:
                np.testing.assert_allclose(ours, theirs, rtol=limit, atol=limit * np.abs(theirs).max())


def limit_of(kind: str) -> float:
    return 2e-2 if kind == "hybrid" else 1e-5


def lstm_inputs(m: Layer, x: int, batch: int, n: int, cells: int, outputs: int, **has) -> list[int]:
    gates = [g for g in range(4) if g > 0 or not has.get("cifg")]

    def group(make, which=gates, size=4):
        return [make() if g in which else -1 for g in range(size)]

    inputs = [x, *group(lambda: m.matrix(cells, n)), *group(lambda: m.matrix(cells, outputs))]
    peepholes = [g for g in (0, 1, 2) if g > 0 or not has.get("cifg")] if has.get("peephole") else []
    inputs += group(lambda: m.peephole(cells), peepholes, 3)
    inputs += group(lambda: m.bias(cells))
    inputs += [m.matrix(outputs, cells), m.bias(outputs)] if has.get("projection") else [-1, -1]
    return inputs


def states(m: Layer, batch: int, cells: int, outputs: int, zero: int = 0) -> list[int]:
    if m.kind == "int8":
        return [m.variable([batch, outputs], I8, [1 / 120], zero), m.variable([batch, cells], I16, [2**-11])]
    return [m.variable([batch, outputs]), m.variable([batch, cells])]


FORMS = [
    {},
    {"time_major": True},
    {"cifg": True},
    {"peephole": True},
    {"peephole": True, "cifg": True},
    {"projection": True, "clip": 0.5},
    {"norm": True},
    {"norm": True, "cifg": True, "projection": True},
    {"norm": True, "peephole": True},
]


@pytest.mark.parametrize("kind", ["float", "hybrid", "hybrid-asymmetric", "int8"])
@pytest.mark.parametrize("form", FORMS, ids=lambda f: "-".join(f) or "plain")
def test_sequence_lstm(kind: str, form: dict) -> None:
    kind, _, how = kind.partition("-")
    m, batch, time, n, cells = Layer(kind), 2, 5, 6, 8
    outputs = 4 if form.get("projection") else cells
    shape = [time, batch] if form.get("time_major") else [batch, time]
    x = m.activation(*shape, n)
    inputs = lstm_inputs(m, x, batch, n, cells, outputs, **form)
    zero = 3 if form.get("projection") else -2
    inputs += states(m, batch, cells, outputs, zero)
    if form.get("norm"):
        inputs += [-1 if form.get("cifg") and g == 0 else m.vector(cells) for g in range(4)]
    y = m.tensor([*shape, outputs], I8, scale=[1 / 120], zero=zero) if kind == "int8" else m.tensor(
        [*shape, outputs])
    inner = None
    if kind == "int8":
        inner = [m.tensor([1], I16, scale=[2**-10]) for _ in range(4)]
        inner.append(m.tensor([1], I8, scale=[1 / 120], zero=0 if form.get("projection") else zero))
    m.op(B.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [y], "UnidirectionalSequenceLSTMOptions", inner,
         fusedActivationFunction=TANH, timeMajor=bool(form.get("time_major")),
         cellClip=form.get("clip", 0), projClip=form.get("clip", 0),
         asymmetricQuantizeInputs=how == "asymmetric")
    compare(m.bytes([x], [y]), limit_of(kind))


@pytest.mark.parametrize("kind", ["float", "hybrid"])
def test_lstm_step(kind: str) -> None:
    m, batch, n, cells = Layer(kind), 3, 6, 8
    x = m.activation(batch, n)
    inputs = lstm_inputs(m, x, batch, n, cells, cells, peephole=True) + states(m, batch, cells, cells)
    y = m.tensor([batch, cells])
    m.op(B.LSTM, inputs, [y], "LSTMOptions", fusedActivationFunction=TANH)
    compare(m.bytes([x], [y]), limit_of(kind))


@pytest.mark.parametrize("kind", ["float", "hybrid"])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("aux", [None, "weights", "input"])
def test_bidirectional_lstm(kind: str, merged: bool, aux: str | None) -> None:
    m, batch, time, n, cells = Layer(kind), 2, 4, 6, 8
    x = m.activation(time, batch, n)
    forward, backward = (lstm_inputs(m, x, batch, n, cells, cells) for _ in range(2))
    inputs = forward + backward[1:] + states(m, batch, cells, cells) + states(m, batch, cells, cells)
    second = [m.activation(time, batch, n)] if aux else []
    inputs += second or [-1]
    inputs += [m.matrix(cells, n) if aux == "weights" else -1 for _ in range(8)]
    width = 2 * cells if merged else cells
    ys = [m.tensor([time, batch, width]) for _ in range(1 if merged else 2)]
    m.op(B.BIDIRECTIONAL_SEQUENCE_LSTM, inputs, ys, "BidirectionalSequenceLSTMOptions",
         fusedActivationFunction=TANH, mergeOutputs=merged, timeMajor=True)
    compare(twice_fed(m, x, second[0], ys) if aux else m.bytes([x], ys), limit_of(kind))


def twice_fed(m: Layer, x: int, second: int, ys: list[int]) -> bytes:
    """The auxiliary input is the input's half."""
    half = m.tensor([1], data=np.array([0.5], np.float32))
    m.op(B.MUL, [x, half], [second], "MulOptions")
    m.operators.insert(0, m.operators.pop())
    return m.bytes([x], ys)


@pytest.mark.parametrize("kind", ["float", "hybrid", "hybrid-asymmetric"])
@pytest.mark.parametrize("activation", [NONE, RELU, RELU6, TANH])
@pytest.mark.parametrize("time_major", [False, True])
def test_rnn(kind: str, activation: int, time_major: bool) -> None:
    kind, _, how = kind.partition("-")
    m, batch, time, n, units = Layer(kind), 2, 5, 6, 4
    shape = [time, batch] if time_major else [batch, time]
    x, y = m.activation(*shape, n), m.tensor([*shape, units])
    inputs = [x, m.matrix(units, n), m.matrix(units, units), m.floats(units), m.variable([batch, units])]
    m.op(B.UNIDIRECTIONAL_SEQUENCE_RNN, inputs, [y], "SequenceRNNOptions", timeMajor=time_major,
         fusedActivationFunction=activation, asymmetricQuantizeInputs=how == "asymmetric")
    compare(m.bytes([x], [y]), limit_of(kind))


@pytest.mark.parametrize("kind", ["float", "hybrid"])
def test_rnn_step(kind: str) -> None:
    m, batch, n, units = Layer(kind), 2, 6, 4
    x, y = m.activation(batch, n), m.tensor([batch, units])
    inputs = [x, m.matrix(units, n), m.matrix(units, units), m.floats(units), m.variable([batch, units])]
    m.op(B.RNN, inputs, [y], "RNNOptions", fusedActivationFunction=TANH)
    compare(m.bytes([x], [y]), limit_of(kind))


@pytest.mark.parametrize("kind", ["float", "hybrid"])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("aux", [None, "weights", "input"])
def test_bidirectional_rnn(kind: str, merged: bool, aux: str | None) -> None:
    # LiteRT runs hybrid layers that are time-major as often as there are steps; those that are not take the
    # input for the backward direction, too.
    if kind == "hybrid" and aux == "input":
        pytest.skip("LiteRT does not use the auxiliary input there")
    m, batch, time, n, units, major = Layer(kind), 2, 4, 6, 3, kind == "float"
    shape = [time, batch] if major else [batch, time]
    x = m.activation(*shape, n)
    inputs = [x]
    for _ in range(2):
        inputs += [m.matrix(units, n), m.matrix(units, units), m.floats(units), m.variable([batch, units])]
    second = [m.activation(*shape, n)] if aux else []
    inputs += second or [-1]
    inputs += [m.matrix(units, n) if aux == "weights" else -1 for _ in range(2)]
    ys = [m.tensor([*shape, 2 * units if merged else units]) for _ in range(1 if merged else 2)]
    m.op(B.BIDIRECTIONAL_SEQUENCE_RNN, inputs, ys, "BidirectionalSequenceRNNOptions", timeMajor=major,
         fusedActivationFunction=TANH, mergeOutputs=merged)
    compare(twice_fed(m, x, second[0], ys) if aux else m.bytes([x], ys), limit_of(kind))


@pytest.mark.parametrize("kind", ["float", "hybrid", "hybrid-asymmetric", "int8"])
@pytest.mark.parametrize("rank", [1, 2])
def test_svdf(kind: str, rank: int) -> None:
    kind, _, how = kind.partition("-")
    m, batch, n, units, memory = Layer(kind), 2, 6, 4, 5
    filters = units * rank
    x = m.activation(batch, n)
    if kind == "int8":
        time = m.tensor([filters, memory], I16, RNG.integers(-3000, 3000, (filters, memory)).astype(np.int16),
                        [1e-4])
        state = m.variable([batch, filters * memory], I16, [1e-3])
        y = m.tensor([batch, units], I8, scale=[0.005], zero=-128)
    else:
        time, state = m.matrix(filters, memory), m.variable([batch, filters * memory])
        y = m.tensor([batch, units])
    m.op(B.SVDF, [x, m.matrix(filters, n), time, m.bias(units), state], [y], "SVDFOptions", rank=rank,
         fusedActivationFunction=RELU, asymmetricQuantizeInputs=how == "asymmetric")
    compare(m.bytes([x], [y]), limit_of(kind))
