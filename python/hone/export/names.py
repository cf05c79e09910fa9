"""Which module of the source a tensor of an exported graph comes from."""

from __future__ import annotations

import ast
from typing import Any


def _from_metadata(node: Any) -> str | None:
    """The newer exporter writes scopes: ['', 'body', 'body.0', 'conv2d'], the last an operator."""
    for item in node.metadata_props:
        if item.key == "pkg.torch.onnx.name_scopes":
            try:
                scopes = ast.literal_eval(item.value)
            except (ValueError, SyntaxError):
                return None
            return str(scopes[-2]) if len(scopes) > 1 else ""
    return None


def _from_name(node: Any) -> str:
    """The older one writes names: /layer1/layer1.0/conv1/Conv is in layer1.0.conv1."""
    path = ""
    for part in node.name.split("/")[1:-1]:
        head, _, last = path.rpartition(".")
        if path and part.split(".")[0] == last:
            path = f"{head}.{part}" if head else part
        else:
            path = f"{path}.{part}" if path else part
    return path


def module_of(node: Any) -> str:
    """The path of the module that made a node; "" for the outermost."""
    path = _from_metadata(node)
    return _from_name(node) if path is None else path


def line_of(node: Any) -> str:
    """The source line that made a node, or ""."""
    for item in node.metadata_props:
        if item.key == "pkg.torch.onnx.stack_trace":
            lines = item.value.splitlines()
            return lines[0].strip() if lines else ""
    return ""


def is_within(path: str, module: str) -> bool:
    return not module or path == module or path.startswith(module + ".")


def last_outputs(graph: Any) -> dict[str, str]:
    """For each module, the tensor that its last node gives, in the order of the graph."""
    result: dict[str, str] = {}
    for node in graph.node:
        path = module_of(node)
        while True:
            result.pop(path, None)
            if node.output:
                result[path] = node.output[0]
            if not path:
                break
            path = path.rpartition(".")[0]
    return result
