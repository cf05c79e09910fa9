"""hone export: models of PyTorch, Hugging Face and TensorFlow as ONNX, proved equal."""

from .result import Export
from .tf_model import export_tf
from .torch_model import export_torch

__all__ = ["Export", "export_tf", "export_torch"]
