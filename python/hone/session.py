"""Engines and sessions, in the manner of ONNX Runtime."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

from ._native import MAX_RANK, BuildOptions, HoneError, IoInfo, ShapeRange, call, lib
from ._values import Holder, to_python, type_name

PathLike: TypeAlias = "str | os.PathLike[str]"
#: A size, or its least, usual and greatest value.
Dim: TypeAlias = int | tuple[int, int, int]

_TUNE = {"off": 0, "quick": 1, "full": 2}
_PRECISION = {"fp32": 0, "bf16": 1}


@dataclasses.dataclass(frozen=True)
class NodeArg:
    """An input or output of a model."""

    name: str
    #: Sizes; the name of a dynamic dim, or None; None as a whole when the rank is not known.
    shape: list[int | str | None] | None
    #: ``tensor(float)`` and so on, as ONNX writes it.
    type: str
    #: The input may be left out.
    optional: bool = False
    #: The session carries the input's value from run to run.
    state: bool = False


@dataclasses.dataclass
class SessionOptions:
    """How to build and run a model."""

    intra_op_num_threads: int = 0  #: 0: as many as the process may use
    optimize: int = 2  #: 0: none, 1: graph passes, 2: and kernels
    tune: str = "off"  #: time candidate kernels: "off", "quick" or "full"
    precision: str = "fp32"  #: what to compute in: "fp32", or "bf16" where the CPU has it
    isa: str | None = None  #: build for CPUs of this level, e.g. "avx2"; None: for this one
    tune_cache: str | None = None  #: file that keeps what tuning measures; None: nothing is kept
    exact: bool = False  #: leave out Winograd and other reformulations of arithmetic
    max_ram_bytes: int = 0  #: refuse to plan more activations than this; 0: no limit
    passes: str | None = None  #: comma-separated list of passes to run; None: all
    keep_defaults: bool = False  #: inputs with a default stay inputs
    signature: str | None = None  #: key of the .tflite file's signature to take; None: the first
    #: sizes of dynamic inputs: the name, and a Dim for each of its dims
    shapes: Mapping[str, Sequence[Dim]] = dataclasses.field(default_factory=dict)


def _shape_range(name: str, dims: Sequence[Dim]) -> ShapeRange:
    if len(dims) > MAX_RANK:
        raise ValueError(f"shapes: {name} has {len(dims)} dims, at most {MAX_RANK} are possible")
    result = ShapeRange(input=name.encode(), rank=len(dims))
    for i, dim in enumerate(dims):
        bounds = (dim, dim, dim) if isinstance(dim, int) else tuple(dim)
        if len(bounds) != 3:
            raise ValueError(f"shapes: dim {i} of {name} is neither a size nor (min, opt, max)")
        result.min[i], result.opt[i], result.max[i] = bounds
    return result


def _native_options(options: SessionOptions) -> BuildOptions:
    if options.tune not in _TUNE:
        raise ValueError(f"tune is {options.tune!r}; it can be {', '.join(_TUNE)}")
    if options.precision not in _PRECISION:
        raise ValueError(f"precision is {options.precision!r}; it can be {', '.join(_PRECISION)}")
    native = BuildOptions()
    lib.hone_build_options_init(ctypes.byref(native))
    native.optimize = options.optimize
    native.tune = _TUNE[options.tune]
    native.tune_cache = os.fsencode(options.tune_cache) if options.tune_cache else None
    native.isa = options.isa.encode() if options.isa else None
    native.precision = _PRECISION[options.precision]
    native.n_threads = options.intra_op_num_threads
    native.max_ram_bytes = options.max_ram_bytes
    native.is_exact = options.exact
    native.keeps_defaults = options.keep_defaults
    native.signature = options.signature.encode() if options.signature is not None else None
    native.passes = options.passes.encode() if options.passes is not None else None
    if options.shapes:
        ranges = [_shape_range(name, dims) for name, dims in options.shapes.items()]
        native.shapes = (ShapeRange * len(ranges))(*ranges)
        native.n_shapes = len(ranges)
    return native


class _Engine:
    """hone_engine, and the model and bytes it may refer to."""

    def __init__(self, source: PathLike | bytes, options: SessionOptions) -> None:
        self.handle = ctypes.c_void_p()
        self._model = ctypes.c_void_p()
        self._bytes = source if isinstance(source, bytes) else b""
        native = _native_options(options)
        if isinstance(source, bytes):
            pointer = ctypes.cast(ctypes.c_char_p(self._bytes), ctypes.c_void_p)
            model = ctypes.byref(self._model)
            call("hone_model_parse_signature", pointer, len(source), None, native.signature, model)
            call("hone_engine_build", self._model, native, ctypes.byref(self.handle))
        else:
            call("hone_engine_open", os.fsencode(source), native, ctypes.byref(self.handle))

    def __del__(self) -> None:
        lib.hone_engine_destroy(self.handle)
        lib.hone_model_destroy(self._model)

    def describe(self, which: str) -> list[NodeArg]:
        """which: "input" or "output"."""
        result = []
        info = IoInfo()
        for i in range(getattr(lib, f"hone_engine_{which}_count")(self.handle)):
            getattr(lib, f"hone_engine_{which}")(self.handle, i, ctypes.byref(info))
            result.append(_node_arg(info))
        return result


def _node_arg(info: IoInfo) -> NodeArg:
    shape: list[int | str | None] | None = None
    if info.rank >= 0:
        shape = []
        for d in range(info.rank):
            label = info.dim_names[d]
            unknown = label.decode("utf-8", "replace") if label else None
            shape.append(info.dims[d] if info.dims[d] >= 0 else unknown)
    name = info.name.decode("utf-8", "replace")
    return NodeArg(name, shape, type_name(info.kind, info.dtype), info.is_optional, info.is_state)


class _NativeSession:
    """hone_session: for one thread at a time."""

    def __init__(self, engine: _Engine, n_threads: int) -> None:
        self.engine = engine  # lives as long as the session
        self.handle = ctypes.c_void_p()
        call("hone_session_create", engine.handle, n_threads, ctypes.byref(self.handle))

    def __del__(self) -> None:
        lib.hone_session_destroy(self.handle)


class Binding:
    """A session with inputs that stay where they are, for many runs on the same memory.

    The arrays may be changed in place between runs. One thread at a time may use it.
    """

    def __init__(self, session: _NativeSession, inputs: list[Holder | None]) -> None:
        self._session = session
        self._inputs = inputs  # memory that the library reads in every run
        for i, held in enumerate(inputs):
            tensor = ctypes.byref(held.tensor) if held else None
            call("hone_session_set_input", session.handle, i, tensor)

    def run(self) -> None:
        """Run the model."""
        call("hone_session_run", self._session.handle)

    def outputs(self) -> list[Any]:
        """Copies of the outputs of the last run."""
        handle = self._session.handle
        count = lib.hone_engine_output_count(self._session.engine.handle)
        return [to_python(lib.hone_session_output(handle, i).contents) for i in range(count)]


class InferenceSession:
    """A model made ready to run. Threads may share it: each call runs in memory of its own.

    Models with state (streaming models) hand it on from run to run, one run after the other; inputs that
    are state may be left out, or fed to run from there.

    Args:
        path_or_bytes: a model (.onnx) or engine file, or the bytes of a model.
        sess_options: how to build and run it.
        threads: short for ``SessionOptions(intra_op_num_threads=threads)``.
        signature: short for ``SessionOptions(signature=signature)``: which of a .tflite file's graphs.
    """

    def __init__(
        self,
        path_or_bytes: PathLike | bytes,
        sess_options: SessionOptions | None = None,
        *,
        threads: int | None = None,
        signature: str | None = None,
    ) -> None:
        options = sess_options or SessionOptions()
        if threads is not None:
            options = dataclasses.replace(options, intra_op_num_threads=threads)
        if signature is not None:
            options = dataclasses.replace(options, signature=signature)
        self._threads = options.intra_op_num_threads
        self._engine = _Engine(path_or_bytes, options)
        self._inputs = self._engine.describe("input")
        self._outputs = self._engine.describe("output")
        self._lock = threading.Lock()
        self._idle = [_NativeSession(self._engine, self._threads)]
        self._has_state = any(i.state for i in self._inputs)
        self._running = threading.Lock()  # one run at a time, where runs hand on state

    def get_inputs(self) -> list[NodeArg]:
        """The inputs, in the model's order."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the model's order."""
        return list(self._outputs)

    def _take(self) -> _NativeSession:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _NativeSession(self._engine, self._threads)

    @contextmanager
    def _session(self) -> Iterator[_NativeSession]:
        session = self._take()
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append(session)

    def _indices(self, names: Sequence[str] | None) -> list[int]:
        known = [o.name for o in self._outputs]
        if names is None:
            return list(range(len(known)))
        for name in names:
            if name not in known:
                raise HoneError(f"there is no output '{name}'; there are {', '.join(known)}")
        return [known.index(name) for name in names]

    def bind(self, input_feed: Mapping[str, Any]) -> Binding:
        """Set the inputs once, for many runs. Contiguous numpy arrays are not copied."""
        unknown = set(input_feed) - {i.name for i in self._inputs}
        if unknown:
            raise HoneError(f"there is no input '{unknown.pop()}'")
        feeds = [(i.name, input_feed.get(i.name)) for i in self._inputs]
        held = [None if value is None else Holder(value, name) for name, value in feeds]
        fresh = self._has_state  # a binding has state of its own
        return Binding(_NativeSession(self._engine, self._threads) if fresh else self._take(), held)

    def reset_state(self) -> None:
        """State, which runs hand on to the next run, has its first value again."""
        with self._running, self._session() as session:
            self._forget(session)

    def _forget(self, session: _NativeSession) -> None:
        for i, known in enumerate(self._inputs):
            if known.state:
                call("hone_session_set_input", session.handle, i, None)

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Any]:
        """Run the model.

        Args:
            output_names: outputs to return; None: all.
            input_feed: a value for each input, by name. Contiguous numpy arrays are not copied.

        Returns:
            The outputs: arrays, lists (sequences), dicts (maps) or None (empty optionals).
        """
        indices = self._indices(output_names)
        known = [i.name for i in self._inputs]
        for name in input_feed:
            if name not in known:
                raise HoneError(f"there is no input '{name}'; there are {', '.join(known)}")
        with self._running if self._has_state else nullcontext(), self._session() as session:
            try:
                self._run(session, input_feed)
            except HoneError:
                self._forget(session)  # it may refer to arrays of this call
                raise
            return [to_python(lib.hone_session_output(session.handle, i).contents) for i in indices]

    def _run(self, session: _NativeSession, input_feed: Mapping[str, Any]) -> None:
        held = []  # memory the library reads during the run
        for i, known in enumerate(self._inputs):
            tensor = None
            if input_feed.get(known.name) is not None:
                held.append(Holder(input_feed[known.name], known.name))
                tensor = ctypes.byref(held[-1].tensor)
            if tensor or not known.state:
                call("hone_session_set_input", session.handle, i, tensor)
        call("hone_session_run", session.handle)

    @property
    def arena_bytes(self) -> int:
        """Bytes of planned activations and scratch memory of the sessions that are idle now."""
        with self._lock:
            return sum(lib.hone_session_arena_bytes(s.handle) for s in self._idle)


def build(model: PathLike | bytes, output: PathLike, **options: Any) -> None:
    """Optimise a model for this machine and write it as an engine file.

    Args:
        model: a model file, or its bytes.
        output: the engine file to write.
        **options: fields of SessionOptions.
    """
    engine = _Engine(model, SessionOptions(**options))
    call("hone_engine_save", engine.handle, os.fsencode(output))
