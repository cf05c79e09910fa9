"""hone.export_torch: a PyTorch module as ONNX, proved."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import explain
from .files import place, staging
from .finish import finish
from .inputs import Dim, Dynamic, Feeds, check_dynamic, grow_ones, make_cases, to_dynamic
from .result import Export, ExportError
from .source import Settings, Source
from .users import running

if TYPE_CHECKING:
    import torch
    from torch import nn


def _examples(args: Any, names: Sequence[str] | None) -> tuple[Feeds, bool]:
    """The example inputs by name, and whether the model takes them by keyword."""
    import torch

    if isinstance(args, torch.Tensor):
        args = (args,)
    if isinstance(args, Mapping):
        return {str(k): v.detach().numpy() for k, v in args.items()}, True
    labels = list(names or [])
    if len(labels) != len(args):
        labels = [f"input_{i}" for i in range(len(args))] if len(args) > 1 else ["input"]
    return {n: v.detach().numpy() for n, v in zip(labels, args)}, False


def _try_exporters(
    model: nn.Module,
    source: Source,
    exporters: Sequence[str],
    path: pathlib.Path,
    result: Export,
) -> None:
    """Export to path by the first that can; note what the others, and that one, say."""
    from .torch_exporters import EXPORTERS, describe

    for name in exporters:
        try:
            said = EXPORTERS[name](model, path, source)
        except Exception as error:  # exporters raise nearly everything
            diagnosis = explain.diagnose(describe(error), name)
            result.diagnoses.append(diagnosis)
            result.remarks.append(f"the exporter {name} failed: {diagnosis.what}")
            continue
        result.exporter = name
        _remark_on(said, path, source.dynamic, result)
        return
    text = "\n".join(d.text() for d in result.diagnoses)
    raise ExportError(f"no exporter could export the model\n{text}", result.diagnoses)


def _frozen_dims(path: pathlib.Path, dynamic: Dynamic) -> list[str]:
    """Dims that were to be dynamic and are not."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    frozen = []
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, dim in dynamic.get(value.name, {}).items():
            if dims[axis].HasField("dim_value"):
                frozen.append(f"{value.name}:{axis} ({dim.name}) is {dims[axis].dim_value}")
    return frozen


def _remark_on(said: str, path: pathlib.Path, dynamic: Dynamic, result: Export) -> None:
    for frozen in _frozen_dims(path, dynamic):
        result.remarks.append(f"the exporter fixed a dim: {frozen}")
    seen: set[str] = set()
    for line in said.splitlines():
        if "TracerWarning" not in line or line in seen:
            continue
        seen.add(line)
        diagnosis = explain.diagnose(line, result.exporter)
        if diagnosis.cause != "unknown":
            result.diagnoses.append(diagnosis)


def export_torch(
    module: nn.Module,
    args: torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor],
    path: str | os.PathLike[str] = "model.onnx",
    *,
    dynamic: Mapping[str, Mapping[int, str | Dim]] | str | None = None,
    input_names: Sequence[str] | None = None,
    exporter: str = "auto",
    optimize: bool = True,
    seconds: float = 0.5,
    report: bool = True,
) -> Export:
    """Export a PyTorch module, and prove that it is the same in ONNX Runtime and hone.

    Args:
        module: the model; it is put into evaluation mode.
        args: example inputs, in forward's order, or by the names of its arguments.
        path: the model to write.
        dynamic: names of dynamic dims by input and axis, or as text: ``"x:0=batch,x:2=height%32"``.
        input_names: names for positional inputs.
        exporter: "dynamo", "torchscript", or "auto": the first, and where it fails the second.
        optimize: run hone's passes over the model.
        seconds: how long to time each runtime; 0: not at all.
        report: write PATH.md and PATH.html.

    Raises:
        ExportError: no exporter could do it; ``diagnoses`` has the causes.
        ModelError: the model itself fails on the example inputs.
    """
    import torch

    from .torch_exporters import EXPORTERS
    from .torch_source import Adapter, flatten, runner, tracer

    module.eval()
    feeds, by_name = _examples(args, input_names)
    dims = to_dynamic(dynamic)
    check_dynamic(dims, {n: v.shape for n, v in feeds.items()})
    feeds, grown = grow_ones(feeds, dims)
    model = Adapter(module, list(feeds) if by_name else None)
    model.eval()
    tensors: list[torch.Tensor] = [torch.from_numpy(v.copy()) for v in feeds.values()]
    with torch.no_grad(), running("the model does not run on the example inputs"):
        raw = module(**dict(zip(feeds, tensors))) if by_name else module(*tensors)
    outputs = [name for name, _ in flatten(raw)]
    result = Export(pathlib.Path(path), f"PyTorch {torch.__version__}", "")
    result.remarks += [f"{d} was 1 in the example, which exporters fix: 2 was used" for d in grown]
    source = Source(runner(model), feeds, dims, outputs, tracer(model))
    settings = Settings(optimize, seconds)
    wanted = list(EXPORTERS) if exporter == "auto" else [exporter]
    _export(model, source, wanted, settings, result)
    if exporter == "auto" and result.exporter == "dynamo":
        _fall_back(result, model, source, settings)
    _blame_sizes(result, source)
    if report:
        from .report import write

        write(result)
    return result


def _blame_sizes(result: Export, source: Source) -> None:
    """Say which line of the model, or that the graph, has numbers for the example's sizes in it."""
    from .torch_exporters import describe

    assert result.proof is not None
    for case, feeds in make_cases(source.feeds, source.dynamic)[1:]:
        try:
            source.run(feeds)
        except Exception as error:  # whatever a model may raise
            text = f"{describe(error)}\nthe model itself runs at one size only"
            diagnosis = explain.diagnose(text, "the model")
            diagnosis.message = f"{case}: {error}"[:300]
            result.diagnoses.append(diagnosis)
            return
    bad = {row.case for row in result.proof.problems if row.runtime == "onnxruntime"}
    if bad and result.proof.rows[0].case not in bad:
        diagnosis = explain.diagnose("fails at other sizes", result.exporter)
        diagnosis.operation = result.proof.first
        result.diagnoses.append(diagnosis)


def _export(
    model: nn.Module, source: Source, exporters: Sequence[str], settings: Settings, result: Export
) -> None:
    """Write result.path, optimised and proved."""
    with staging(result.path) as staged:
        _try_exporters(model, source, exporters, staged, result)
        finish(result, staged, source, settings)


def _fall_back(result: Export, model: nn.Module, source: Source, settings: Settings) -> None:
    """Try the older exporter where ONNX Runtime itself refuses or differs on the newer one's."""
    assert result.proof is not None
    bad = [row for row in result.proof.problems if row.runtime == "onnxruntime"]
    if not bad:
        return
    with staging(result.path) as path:
        other = Export(path, result.source, "")
        try:
            _export(model, source, ["torchscript"], settings, other)
        except ExportError:
            return
        assert other.proof is not None
        if len(other.proof.problems) >= len(result.proof.problems):
            return
        place(path, result.path)
    other.path = result.path
    other.remarks.append(
        f"dynamo's model was not equal ({bad[0].runtime}, {bad[0].case}: {bad[0].problem})"
    )
    other.remarks += result.remarks
    vars(result).update(vars(other))
