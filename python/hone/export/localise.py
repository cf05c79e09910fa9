"""Find the first tensor that differs, by making all tensors outputs."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .inputs import Array, Feeds
from .names import last_outputs, line_of, module_of
from .proof import Runner, compare, hone_runner, ort_runner

#: gives the outputs of modules, by path, in the order in which they ran
Tracer = Callable[[Feeds], dict[str, Array]]


@contextlib.contextmanager
def exposing(path: pathlib.Path, wanted: list[str]) -> Iterator[tuple[pathlib.Path, list[str]]]:
    """The model with these tensors as its only outputs: a file beside it, and the names it has.

    Beside it, since external data are found there.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    _type_outputs(model)
    out = path.with_suffix(".exposed.onnx")
    try:
        onnx.save(model, out)
        yield out, [v.name for v in model.graph.output]
    finally:
        out.unlink(missing_ok=True)


def _type_outputs(model: Any) -> None:
    """Take types from shape inference: ONNX Runtime asks for them."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    known = {v.name: v for v in [*inferred.graph.value_info, *inferred.graph.output]}
    for value in model.graph.output:
        found = known.get(value.name)
        if found is not None and found.type.HasField("tensor_type"):
            value.type.tensor_type.elem_type = found.type.tensor_type.elem_type
    keep = [v for v in model.graph.output if v.type.tensor_type.elem_type]
    del model.graph.output[:]
    model.graph.output.extend(keep)


def _makers(path: pathlib.Path) -> dict[str, Any]:
    """The node that gives each tensor, in the order of the graph."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return {out: node for node in graph.node for out in node.output if out}


def _values(
    path: pathlib.Path, names: list[str], load: Callable[[pathlib.Path], Runner], feeds: Feeds
) -> dict[str, Array]:
    """Tensors of a model by name, as a runtime gives them."""
    with exposing(path, names) as (exposed, kept):
        values = load(exposed)(feeds)
    return {n: np.asarray(v) for n, v in zip(kept, values) if v is not None}


def _where(node: Any, name: str) -> str:
    path = module_of(node)
    text = f"tensor '{name}' of {node.op_type}"
    text += f" in module '{path}'" if path else " in the outermost module"
    line = line_of(node)
    return f"{text} ({line})" if line else text


def _first(makers: dict[str, Any], got: dict[str, Array], want: dict[str, Array]) -> str:
    """Where the first tensor is that both have and that differs, and by how much; or ""."""
    for name, node in makers.items():
        if name in got and name in want:
            _, problem = compare(got[name], want[name])
            if problem:
                return f"{_where(node, name)}: {problem}"
    return ""


def first_between_runtimes(path: pathlib.Path, feeds: Feeds) -> str:
    """The first tensor on which hone differs from ONNX Runtime, in the order of the graph."""
    makers = _makers(path)
    got = _values(path, list(makers), hone_runner, feeds)
    found = _first(makers, got, _values(path, list(makers), ort_runner, feeds))
    return f"{found}, hone beside ONNX Runtime" if found else ""


def first_between_models(before: pathlib.Path, after: pathlib.Path, feeds: Feeds) -> str:
    """The first tensor of both that differs between two models, as ONNX Runtime runs them."""
    makers, old = _makers(after), _makers(before)
    names = [name for name in makers if name in old]
    got = _values(after, names, ort_runner, feeds)
    return _first(makers, got, _values(before, names, ort_runner, feeds))


def first_from_source(path: pathlib.Path, feeds: Feeds, trace: Tracer) -> str:
    """The first module whose output in ONNX Runtime is not the source framework's."""
    import onnx

    modules = last_outputs(onnx.load(path, load_external_data=False).graph)
    makers = _makers(path)
    values = _values(path, list(dict.fromkeys(modules.values())), ort_runner, feeds)
    for module, want in trace(feeds).items():
        name = modules.get(module)
        if name not in values:
            continue
        got = values[name]
        if got.shape != want.shape and got.size == want.size:
            continue  # the last node of a module may reorder what the module gives
        _, problem = compare(got, want)
        if problem:
            return f"{_where(makers[name], name)}, module '{module}': beside the source: {problem}"
    return ""
