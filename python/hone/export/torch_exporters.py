"""PyTorch's two exporters behind one function each."""

from __future__ import annotations

import contextlib
import io
import pathlib
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .inputs import Dynamic
from .source import Source
from .torch_source import to_tensors

OPSET = 18


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """What exporters print, kept; fused attention that has no ONNX form, off."""
    said = io.StringIO()
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(record=True) as caught,
            torch.no_grad(),
        ):
            warnings.simplefilter("always")
            yield said
        for w in caught:
            if "TracerWarning" in w.category.__name__:
                said.write(f"{w.filename}:{w.lineno}: TracerWarning: {w.message}\n")
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)


def _rename_dims(path: pathlib.Path, dynamic: Dynamic) -> None:
    """Give the exporter's symbols (s77) the names that were asked for, everywhere."""
    import onnx

    model = onnx.load(path, load_external_data=False)  # which stays as it is
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, dim in dynamic.get(value.name, {}).items():
            symbol = value.type.tensor_type.shape.dim[axis].dim_param
            if symbol:
                names[symbol] = dim.name
    graph = model.graph
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for d in value.type.tensor_type.shape.dim:
            if d.dim_param in names:
                d.dim_param = names[d.dim_param]
    onnx.save(model, path)


def by_dynamo(
    model: nn.Module,
    path: pathlib.Path,
    source: Source,
) -> str:
    """The newer exporter. Returns what it said."""
    names, dynamic = list(source.feeds), source.dynamic
    options: dict[str, Any] = {}
    if dynamic:
        shapes = tuple(
            {axis: torch.export.Dim.DYNAMIC for axis in dynamic.get(name, {})} for name in names
        )
        # A module of *values has one argument, which is a tuple.
        options["dynamic_shapes"] = (shapes,)
    with _quiet() as said:
        program = torch.onnx.export(
            model,
            tuple(to_tensors(source.feeds)),
            input_names=list(source.feeds),
            output_names=source.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            **options,
        )
        assert program is not None
        program.save(str(path))
    _rename_dims(path, dynamic)
    return said.getvalue()


def by_tracing(
    model: nn.Module,
    path: pathlib.Path,
    source: Source,
) -> str:
    """The older exporter, which records one run. Returns what it said: TracerWarnings too."""
    axes = {n: {a: d.name for a, d in dims.items()} for n, dims in source.dynamic.items()}
    with _quiet() as said:
        torch.onnx.export(
            model,
            tuple(to_tensors(source.feeds)),
            str(path),
            input_names=list(source.feeds),
            output_names=source.outputs,
            opset_version=OPSET,
            dynamic_axes=axes,
            dynamo=False,
        )
    return said.getvalue()


#: in the order in which they are tried
EXPORTERS = {"dynamo": by_dynamo, "torchscript": by_tracing}


def describe(error: BaseException) -> str:
    """Everything an exception says, its causes' frames included."""
    return "".join(traceback.format_exception(error))
