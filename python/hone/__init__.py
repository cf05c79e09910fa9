"""hone: optimised inference for trained models.

>>> import hone
>>> session = hone.InferenceSession("model.onnx")
>>> outputs = session.run(None, {"image": image})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._convert import ConvertError, convert
    from ._native import HoneError
    from ._program import check, inspect
    from .export import export_tf, export_torch
    from .session import Binding, InferenceSession, NodeArg, SessionOptions, build

__version__ = "0.1.0"

__all__ = [
    "Binding",
    "ConvertError",
    "HoneError",
    "InferenceSession",
    "NodeArg",
    "SessionOptions",
    "build",
    "check",
    "convert",
    "export_tf",
    "export_torch",
    "inspect",
]

_PLACES = {
    "ConvertError": "._convert",
    "HoneError": "._native",
    "check": "._program",
    "convert": "._convert",
    "export_tf": ".export",
    "export_torch": ".export",
    "inspect": "._program",
}


def __getattr__(name: str) -> Any:
    """The library is loaded when something of it is first asked for: tools need not have it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES.get(name, ".session"), __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
