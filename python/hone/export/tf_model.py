"""hone.export_tf: a Keras model or a SavedModel as ONNX, proved."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import explain
from .files import staging
from .finish import finish
from .inputs import Array, Dim, Dynamic, Feeds, InputSpec, make_value, to_dynamic
from .proof import Runner
from .result import Export, ExportError
from .source import Settings, Source
from .users import running

OPSET = 18
_DEFAULT_SIZE = {0: 2}  #: sizes for unknown dims, by axis
_OTHER_SIZE = 16


def _function(model: Any) -> tuple[Any, list[str]]:
    """The model as a tf.function of its inputs by position, and the names of the inputs."""
    import tensorflow as tf

    if hasattr(model, "inputs") and getattr(model, "call", None):
        specs = [tf.TensorSpec(i.shape, i.dtype, name=_plain(i.name)) for i in model.inputs]

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=specs
        )
        def run(*values: Any) -> Any:
            return model(values[0] if len(values) == 1 else list(values), training=False)

        return run, [s.name for s in specs]
    signature = model.signatures["serving_default"]
    _, keywords = signature.structured_input_signature
    names = sorted(keywords)
    specs = [keywords[n] for n in names]

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=specs
    )
    def run_signature(*values: Any) -> Any:
        return signature(**dict(zip(names, values)))

    return run_signature, names


def _plain(name: str) -> str:
    return name.split(":", maxsplit=1)[0].replace("/", "_")


def _open(source: Any) -> Any:
    import tensorflow as tf

    if not isinstance(source, (str, os.PathLike)):
        return source
    place = pathlib.Path(source)
    if place.is_dir():
        with running(f"'{place}' cannot be loaded as a SavedModel"):
            return tf.saved_model.load(str(place))
    if not place.is_file():
        raise ValueError(f"'{place}' is neither a Keras file nor a SavedModel folder")
    with running(f"'{place}' cannot be loaded as a Keras file"):
        return tf.keras.models.load_model(place, compile=False)


def _specs(
    function: Any, names: Sequence[str], wanted: Sequence[InputSpec] | None
) -> tuple[list[InputSpec], Dynamic]:
    """A spec for each input, unknown dims filled, and which dims are unknown."""
    given = {spec.name: spec for spec in wanted or ()}
    result: list[InputSpec] = []
    unknown: Dynamic = {}
    for name, spec in zip(names, function.input_signature):
        open_dims = [i for i, d in enumerate(spec.shape) if d is None]
        shape = tuple(
            _DEFAULT_SIZE.get(i, _OTHER_SIZE) if d is None else d for i, d in enumerate(spec.shape)
        )
        result.append(given.get(name, InputSpec(name, shape, spec.dtype.name)))
        unknown[name] = {i: Dim("batch" if i == 0 else f"{name}_{i}") for i in open_dims}
    return result, {n: axes for n, axes in unknown.items() if axes}


def _by_keras(model: Any, function: Any, path: pathlib.Path, first: list[str]) -> None:
    if first:
        raise ValueError("Keras's own exporter keeps channels last")
    model.export(str(path), format="onnx", verbose=False)


def _by_tf2onnx(model: Any, function: Any, path: pathlib.Path, first: list[str]) -> None:
    import tf2onnx

    tf2onnx.convert.from_function(
        function,
        input_signature=function.input_signature,
        opset=OPSET,
        inputs_as_nchw=first or None,
        output_path=str(path),
    )


EXPORTERS = {"keras": _by_keras, "tf2onnx": _by_tf2onnx}


def _embed_constants(path: pathlib.Path, function: Any, n_inputs: int) -> None:
    """Make initializers of what the function holds by reference, which exporters leave as inputs.

    Such are tensors that are no variables: the statistics of Keras's Normalization, say.
    """
    import onnx
    import tensorflow as tf

    model = onnx.load(path, load_external_data=False)  # which stays as it is
    held = {
        inner.name: outer
        for outer, inner in function.get_concrete_function().graph.captures
        if outer.dtype != tf.resource
    }
    for value in list(model.graph.input)[n_inputs:]:
        if value.name not in held:
            raise ValueError(f"the exporter made an input of '{value.name}', whose value is not known")
        constant = onnx.numpy_helper.from_array(held[value.name].numpy(), value.name)
        model.graph.initializer.append(constant)
        model.graph.input.remove(value)
    onnx.save(model, path)


def _rename(path: pathlib.Path, names: Sequence[str], dims: Dynamic) -> list[str]:
    """Give inputs and dynamic dims the names of the source. Returns the outputs' names."""
    import onnx

    model = onnx.load(path, load_external_data=False)  # which stays as it is
    renamed = {value.name: name for value, name in zip(model.graph.input, names)}
    for node in model.graph.node:
        node.input[:] = [renamed.get(n, n) for n in node.input]
    for value in model.graph.input:
        value.name = renamed.get(value.name, value.name)
        for axis, dim in dims.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = dim.name
    onnx.save(model, path)
    return [value.name for value in model.graph.output]


def _move_channels(feeds: Feeds, dims: Dynamic, first: Sequence[str]) -> Dynamic:
    """Move the channels of these feeds from last to first. Returns the dims where they are then."""
    moved_dims = dict(dims)
    for name in first:
        feeds[name] = np.ascontiguousarray(np.moveaxis(feeds[name], -1, 1))
        rank = feeds[name].ndim
        moved = {0: 0, rank - 1: 1, **{i: i + 1 for i in range(1, rank - 1)}}
        moved_dims[name] = {moved[a]: d for a, d in dims.get(name, {}).items()}
    return moved_dims


def _runner(function: Any, first: Sequence[str]) -> Runner:
    import tensorflow as tf

    def run(feeds: Feeds) -> list[Array]:
        values = [tf.constant(np.moveaxis(v, 1, -1) if n in first else v) for n, v in feeds.items()]
        return [np.asarray(t) for t in tf.nest.flatten(function(*values))]

    return run


def export_tf(
    source: Any,
    path: str | os.PathLike[str] = "model.onnx",
    *,
    inputs: Sequence[InputSpec] | None = None,
    dynamic: Mapping[str, Mapping[int, str | Dim]] | str | None = None,
    channels_first: Sequence[str] = (),
    exporter: str = "auto",
    optimize: bool = True,
    seconds: float = 0.5,
    report: bool = True,
) -> Export:
    """Export a Keras model or a SavedModel, and prove that it is the same.

    Args:
        source: a Keras model, a Keras file or a SavedModel folder.
        path: the model to write.
        inputs: example shapes of inputs, where unknown dims need other ones than 2 and 16.
        dynamic: names for dims; those that the source leaves open are dynamic in any case.
        channels_first: inputs to move from channels last to channels first (by tf2onnx).
        exporter: "keras", "tf2onnx", or "auto": the first, and where it fails the second.
        optimize, seconds, report: as in export_torch.
    """
    import tensorflow as tf

    model = _open(source)
    function, names = _function(model)
    specs, unknown = _specs(function, names, inputs)
    target, first = pathlib.Path(path), list(channels_first)
    result = Export(target, f"TensorFlow {tf.__version__}", "")
    wanted = list(EXPORTERS) if exporter == "auto" else [exporter]
    if (first or not hasattr(model, "export")) and exporter == "auto":
        wanted = ["tf2onnx"]
    dims = {**unknown, **to_dynamic(dynamic)}
    rng = np.random.default_rng(0)
    feeds = {s.name: make_value(s, rng) for s in specs}
    with running("the model does not run on the example inputs"):
        _runner(function, ())(feeds)  # Keras exports only what has run
    with staging(target) as staged:
        _try_exporters(model, function, first, wanted, staged, result)
        dims = _move_channels(feeds, dims, first)
        outputs = _rename(staged, names, dims)
        seen = Source(_runner(function, first), feeds, dims, outputs)
        finish(result, staged, seen, Settings(optimize, seconds))
    if report:
        from .report import write

        write(result)
    return result


def _try_exporters(
    model: Any,
    function: Any,
    first: list[str],
    wanted: Sequence[str],
    path: pathlib.Path,
    result: Export,
) -> None:
    import traceback

    for name in wanted:
        try:
            EXPORTERS[name](model, function, path, first)
            _embed_constants(path, function, len(function.input_signature))
        except Exception as error:  # exporters raise nearly everything
            text = "".join(traceback.format_exception(error))
            diagnosis = explain.diagnose(text, name)
            result.diagnoses.append(diagnosis)
            result.remarks.append(f"the exporter {name} failed: {diagnosis.message}")
            continue
        result.exporter = name
        return
    raise ExportError("no exporter could export the model", result.diagnoses)
