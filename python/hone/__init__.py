"""hone: optimised inference for trained models.

>>> import hone
>>> session = hone.InferenceSession("model.onnx")
>>> outputs = session.run(None, {"image": image})
"""

from ._native import HoneError
from ._program import check, inspect
from .session import InferenceSession, NodeArg, SessionOptions, build

__version__ = "0.1.0"

__all__ = [
    "HoneError",
    "InferenceSession",
    "NodeArg",
    "SessionOptions",
    "build",
    "check",
    "inspect",
]
