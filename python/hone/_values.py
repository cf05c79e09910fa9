"""Python values to and from hone_tensor.

Tensors are numpy arrays, sequences lists, maps dicts; an empty optional is None. The library reads
contiguous arrays where they lie; what it returns is copied, because its memory is reused.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from ._native import (
    KIND_MAP,
    KIND_NONE,
    KIND_SEQUENCE,
    KIND_TENSOR,
    MAX_RANK,
    HoneError,
    String,
    Tensor,
)

# ONNX's name, numpy type; the position is the number of the element type.
_TYPES: list[tuple[str, Any]] = [
    ("", None),
    ("float", np.float32),
    ("uint8", np.uint8),
    ("int8", np.int8),
    ("uint16", np.uint16),
    ("int16", np.int16),
    ("int32", np.int32),
    ("int64", np.int64),
    ("string", np.object_),
    ("bool", np.bool_),
    ("float16", np.float16),
    ("double", np.float64),
    ("uint32", np.uint32),
    ("uint64", np.uint64),
    ("complex64", np.complex64),
    ("complex128", np.complex128),
    ("bfloat16", ml_dtypes.bfloat16),
    ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
    ("float8e4m3fnuz", ml_dtypes.float8_e4m3fnuz),
    ("float8e5m2", ml_dtypes.float8_e5m2),
    ("float8e5m2fnuz", ml_dtypes.float8_e5m2fnuz),
    ("uint4", ml_dtypes.uint4),
    ("int4", ml_dtypes.int4),
    ("float4e2m1", ml_dtypes.float4_e2m1fn),
    ("float8e8m0", ml_dtypes.float8_e8m0fnu),
    ("uint2", ml_dtypes.uint2),
    ("int2", ml_dtypes.int2),
]
_STRING = 8
_NUMBER_OF = {np.dtype(kind): i for i, (_, kind) in enumerate(_TYPES) if kind is not None}
_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}  # element types with several elements to a byte


def type_name(kind: int, dtype: int) -> str:
    """``tensor(float)``, ``seq(tensor(int64))``, ``map``."""
    if kind == KIND_MAP:
        return "map"
    tensor = f"tensor({_TYPES[dtype][0]})" if dtype else "tensor"
    return f"seq({tensor})" if kind == KIND_SEQUENCE else tensor


def _pack(array: np.ndarray, bits: int) -> np.ndarray:
    per_byte = 8 // bits
    flat = np.zeros(-(-array.size // per_byte) * per_byte, np.uint8)
    flat[: array.size] = array.reshape(-1).view(np.uint8) & ((1 << bits) - 1)
    parts = flat.reshape(-1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * bits)
    packed: np.ndarray = np.bitwise_or.reduce(parts, axis=1)
    return packed


def _unpack(packed: np.ndarray, dtype: np.dtype, bits: int, count: int) -> np.ndarray:
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    parts = (packed[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    values: np.ndarray = parts.reshape(-1)[:count].view(dtype)
    return values


class Holder:
    """A value in the library's form, and all the memory it borrows."""

    def __init__(self, value: Any, name: str) -> None:
        self.name = name
        self.kept: list[Any] = []
        self.tensor = self._convert(value)

    def _convert(self, value: Any) -> Tensor:
        if value is None:
            return Tensor(kind=KIND_NONE)
        if isinstance(value, (list, tuple)):
            return self._pointers(KIND_SEQUENCE, [self._convert(v) for v in value])
        if isinstance(value, dict):
            keys, values = np.array(list(value)), np.array(list(value.values()))
            return self._pointers(KIND_MAP, [self._convert(keys), self._convert(values)])
        return self._array(np.asarray(value))

    def _pointers(self, kind: int, items: list[Tensor]) -> Tensor:
        table = (ctypes.POINTER(Tensor) * max(len(items), 1))()
        for i, item in enumerate(items):
            table[i] = ctypes.pointer(item)
        self.kept += [table, items]
        result = Tensor(kind=kind, data=ctypes.addressof(table))
        if kind == KIND_SEQUENCE:
            result.rank = 1
            result.dims[0] = len(items)
        return result

    def _array(self, array: np.ndarray) -> Tensor:
        if array.ndim > MAX_RANK:
            raise HoneError(f"{self.name}: {array.ndim} dims, at most {MAX_RANK} are possible")
        result = Tensor(kind=KIND_TENSOR, rank=array.ndim)
        result.dims[: array.ndim] = array.shape
        if array.dtype.kind in "OUST":
            result.dtype = _STRING
            result.data = self._strings(array)
            return result
        array = np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])
        number = _NUMBER_OF.get(array.dtype)
        if number is None:
            raise HoneError(f"{self.name}: arrays of {array.dtype} cannot be passed")
        if number in _BITS:
            array = _pack(array, _BITS[number])
        self.kept.append(array)
        result.dtype = number
        result.data = array.ctypes.data
        return result

    def _strings(self, array: np.ndarray) -> int:
        table = (String * max(array.size, 1))()
        for i, text in enumerate(array.reshape(-1).tolist()):
            data = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
            self.kept.append(data)
            table[i].data = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
            table[i].len = len(data)
        self.kept.append(table)
        return ctypes.addressof(table)


def _text(item: String) -> str:
    return ctypes.string_at(item.data, item.len).decode("utf-8", "surrogateescape")


def _to_array(tensor: Tensor) -> np.ndarray:
    shape = tuple(tensor.dims[: tensor.rank])
    count = 1
    for dim in shape:
        count *= dim
    if tensor.dtype == _STRING:
        result = np.empty(count, np.object_)
        if count:
            table = (String * count).from_address(tensor.data)
            result[:] = [_text(item) for item in table]
        return result.reshape(shape)
    dtype = np.dtype(_TYPES[tensor.dtype][1])
    if count == 0:
        return np.empty(shape, dtype)
    bits = _BITS.get(tensor.dtype)
    n_bytes = count * dtype.itemsize if bits is None else -(-count * bits // 8)
    raw = np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes).from_address(tensor.data))
    if bits is not None:
        return _unpack(raw, dtype, bits, count).reshape(shape)
    whole: np.ndarray = raw.copy().view(dtype).reshape(shape)
    return whole


def to_python(tensor: Tensor) -> Any:
    """A copy of a value of the library."""
    if tensor.kind == KIND_NONE:
        return None
    if tensor.kind == KIND_TENSOR:
        return _to_array(tensor)
    count = tensor.dims[0] if tensor.kind == KIND_SEQUENCE else 2
    if count == 0:
        return []
    table = (ctypes.POINTER(Tensor) * count).from_address(tensor.data)
    items = [to_python(item.contents) for item in table]
    if tensor.kind == KIND_SEQUENCE:
        return items
    keys, values = items
    return dict(zip(keys.tolist(), values.tolist() if values.ndim == 1 else values))
