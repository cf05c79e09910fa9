"""The C library: its structs and functions as hone.h declares them, and its errors."""

from __future__ import annotations

import ctypes
import os
import pathlib
from ctypes import POINTER, c_bool, c_char, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any

MAX_RANK = 10

KIND_NONE, KIND_TENSOR, KIND_SEQUENCE, KIND_MAP = range(4)


class Error(ctypes.Structure):
    """hone_error"""

    _fields_ = [
        ("code", c_int),
        ("offset", c_int64),
        ("node", c_char * 128),
        ("op", c_char * 64),
        ("message", c_char * 640),
    ]


class String(ctypes.Structure):
    """hone_string"""

    _fields_ = [("data", c_void_p), ("len", c_size_t)]


class Tensor(ctypes.Structure):
    """hone_tensor"""

    _fields_ = [
        ("kind", c_int),
        ("dtype", c_int),
        ("rank", c_int),
        ("dims", c_int64 * MAX_RANK),
        ("data", c_void_p),
        ("owner", c_void_p),
    ]


class IoInfo(ctypes.Structure):
    """hone_io_info"""

    _fields_ = [
        ("name", c_char_p),
        ("kind", c_int),
        ("dtype", c_int),
        ("rank", c_int),
        ("dims", c_int64 * MAX_RANK),
        ("dim_names", c_char_p * MAX_RANK),
        ("is_optional", c_bool),
        ("is_state", c_bool),
    ]


class ShapeRange(ctypes.Structure):
    """hone_shape_range"""

    _fields_ = [
        ("input", c_char_p),
        ("rank", c_int),
        ("min", c_int64 * MAX_RANK),
        ("opt", c_int64 * MAX_RANK),
        ("max", c_int64 * MAX_RANK),
    ]


PROGRESS = ctypes.CFUNCTYPE(None, c_void_p, ctypes.c_double, c_char_p)
REMARK = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)


class BuildOptions(ctypes.Structure):
    """hone_build_options"""

    _fields_ = [
        ("optimize", c_int),
        ("tune", c_int),
        ("n_threads", c_int),
        ("max_ram_bytes", c_size_t),
        ("is_exact", c_bool),
        ("keeps_defaults", c_bool),
        ("shapes", POINTER(ShapeRange)),
        ("n_shapes", c_int),
        ("passes", c_char_p),
        ("stop_at", c_int),
        ("progress", PROGRESS),
        ("progress_arg", c_void_p),
        ("isa", c_char_p),
        ("tune_cache", c_char_p),
        ("remark", REMARK),
        ("remark_arg", c_void_p),
        ("precision", c_int),
        ("signature", c_char_p),
    ]


class HoneError(RuntimeError):
    """A failure the library reports.

    Attributes:
        code: what kind of failure, e.g. ``"format error"``.
        node: name of the node it is about, or "".
        op: operator of that node, or "".
        offset: byte offset in a parsed file, or -1.
    """

    def __init__(
        self, message: str, code: str = "", node: str = "", op: str = "", offset: int = -1
    ) -> None:
        where = f" (node '{node}', {op})" if node or op else ""
        super().__init__(f"{code}: {message}{where}" if code else message)
        self.code = code
        self.node = node
        self.op = op
        self.offset = offset


def find_library() -> pathlib.Path:
    """The library of this package, else HONE_LIBRARY, else the repository's build folder."""
    here = pathlib.Path(__file__).resolve().parent
    places = [here / "lib" / "libhone.so"]
    if os.environ.get("HONE_LIBRARY"):
        places.append(pathlib.Path(os.environ["HONE_LIBRARY"]))
    places.append(here.parents[1] / "build" / "libhone.so")
    for place in places:
        if place.is_file():
            return place
    raise ImportError(
        "libhone.so is missing; looked at "
        + ", ".join(map(str, places))
        + ". Install the package, run make, or set HONE_LIBRARY."
    )


_P_ERROR = POINTER(Error)
_OBJECT = c_void_p
_P_OBJECT = POINTER(c_void_p)

# name: (result, arguments)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "hone_status_name": (c_char_p, [c_int]),
    "hone_model_parse_signature": (
        c_int,
        [c_void_p, c_size_t, c_char_p, c_char_p, _P_OBJECT, _P_ERROR],
    ),
    "hone_model_destroy": (None, [_OBJECT]),
    "hone_build_options_init": (None, [POINTER(BuildOptions)]),
    "hone_engine_build": (c_int, [_OBJECT, POINTER(BuildOptions), _P_OBJECT, _P_ERROR]),
    "hone_engine_save": (c_int, [_OBJECT, c_char_p, _P_ERROR]),
    "hone_engine_open": (c_int, [c_char_p, POINTER(BuildOptions), _P_OBJECT, _P_ERROR]),
    "hone_engine_destroy": (None, [_OBJECT]),
    "hone_engine_input_count": (c_int, [_OBJECT]),
    "hone_engine_output_count": (c_int, [_OBJECT]),
    "hone_engine_input": (c_bool, [_OBJECT, c_int, POINTER(IoInfo)]),
    "hone_engine_output": (c_bool, [_OBJECT, c_int, POINTER(IoInfo)]),
    "hone_session_create": (c_int, [_OBJECT, c_int, _P_OBJECT, _P_ERROR]),
    "hone_session_destroy": (None, [_OBJECT]),
    "hone_session_set_input": (c_int, [_OBJECT, c_int, POINTER(Tensor), _P_ERROR]),
    "hone_session_run": (c_int, [_OBJECT, _P_ERROR]),
    "hone_session_output": (POINTER(Tensor), [_OBJECT, c_int]),
    "hone_session_arena_bytes": (c_size_t, [_OBJECT]),
    "hone_session_threads": (c_int, [_OBJECT]),
}


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(find_library()))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


lib = _load()


def call(name: str, *arguments: Any) -> None:
    """Call a fallible function, whose last parameter is a hone_error; raise what it reports."""
    error = Error()
    status = getattr(lib, name)(*arguments, ctypes.byref(error))
    if status == 0:
        return
    raise HoneError(
        error.message.decode("utf-8", "replace"),
        lib.hone_status_name(status).decode(),
        error.node.decode("utf-8", "replace"),
        error.op.decode("utf-8", "replace"),
        error.offset,
    )
