"""A class for each framework, imported only in its own process."""

from __future__ import annotations

import importlib

from .base import Adapter

#: framework: module below this one, class
FRAMEWORKS = {
    "hone": ("hone_adapter", "HoneAdapter"),
    "ort": ("ort_adapter", "OrtAdapter"),
    "openvino": ("openvino_adapter", "OpenVinoAdapter"),
    "litert": ("litert_adapter", "LiteRtAdapter"),
    "torch": ("torch_adapter", "TorchAdapter"),
    "torch-compile": ("torch_adapter", "TorchCompileAdapter"),
    "tensorrt": ("tensorrt_adapter", "TensorRtAdapter"),
}

#: How reports call them.
TITLES = {
    "hone": "hone",
    "ort": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
    "torch": "PyTorch",
    "torch-compile": "torch.compile",
    "tensorrt": "TensorRT",
}


def adapter_class(framework: str) -> type[Adapter]:
    """Raises ImportError where the framework is not installed."""
    module, name = FRAMEWORKS[framework]
    found: type[Adapter] = getattr(importlib.import_module(f".{module}", __package__), name)
    return found


__all__ = ["FRAMEWORKS", "TITLES", "Adapter", "adapter_class"]
