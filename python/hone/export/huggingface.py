"""Export a Hugging Face model that lies in a folder."""

from __future__ import annotations

import inspect
import os
import pathlib
from typing import Any

import numpy as np

from .inputs import Dim, Dynamic
from .result import Export
from .users import running

_TEXT = ("input_ids", "attention_mask", "token_type_ids")


def _tokens(config: Any, accepted: set[str], rng: np.random.Generator) -> dict[str, Any]:
    top = min(int(getattr(config, "vocab_size", 1000)), 30000)
    values = {"input_ids": rng.integers(3, top, (2, 16))}
    if "attention_mask" in accepted:
        values["attention_mask"] = np.ones((2, 16), np.int64)
    if "token_type_ids" in accepted and getattr(config, "type_vocab_size", 0) > 1:
        values["token_type_ids"] = rng.integers(0, 2, (2, 16))
    if getattr(config, "is_encoder_decoder", False):
        values["decoder_input_ids"] = rng.integers(3, top, (2, 8))
    return values


def _examples(model: Any, config: Any) -> tuple[dict[str, Any], Dynamic]:
    """Inputs that fit the model, and the dims of them that may change."""
    rng = np.random.default_rng(0)
    accepted = set(inspect.signature(model.forward).parameters)
    main = model.main_input_name
    if main == "pixel_values":
        size = getattr(config, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        shape = (2, getattr(config, "num_channels", 3), height, width)
        values: dict[str, Any] = {main: rng.standard_normal(shape).astype(np.float32)}
        return values, {main: {0: Dim("batch")}}
    if main == "input_values":  # raw sound
        values = {main: rng.standard_normal((2, 8000)).astype(np.float32)}
        return values, {main: {0: Dim("batch"), 1: Dim("samples", 1000)}}
    if main == "input_features":  # spectrograms
        bins = getattr(config, "num_mel_bins", 80)
        frames = 2 * int(getattr(config, "max_source_positions", 1500))
        values = {main: rng.standard_normal((2, bins, frames)).astype(np.float32)}
        if getattr(config, "is_encoder_decoder", False):
            values["decoder_input_ids"] = rng.integers(0, config.vocab_size, (2, 8))
        dims: Dynamic = {main: {0: Dim("batch")}}
        if "decoder_input_ids" in values:
            dims["decoder_input_ids"] = {0: Dim("batch"), 1: Dim("decoder_sequence")}
        return values, dims
    values = _tokens(config, accepted, rng)
    dims = {n: {0: Dim("batch"), 1: Dim("sequence")} for n in values}
    if "decoder_input_ids" in dims:
        dims["decoder_input_ids"][1] = Dim("decoder_sequence")
    return values, dims


def export_model(model: Any, path: str | os.PathLike[str], **options: Any) -> Export:
    """Export a transformers model with inputs made from its configuration."""
    import torch

    from .torch_model import export_torch

    config = model.config
    config.use_cache = False
    config.return_dict = True
    values, dims = _examples(model, config)
    if not options.get("dynamic"):
        options["dynamic"] = dims
    tensors = {n: torch.from_numpy(np.asarray(v)) for n, v in values.items()}
    return export_torch(model, tensors, path, **options)


def export_hf(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    random_weights: bool = False,
    **options: Any,
) -> Export:
    """Export the model in a folder as `save_pretrained` writes it. Nothing is downloaded.

    Args:
        folder: with config.json and weights.
        path: the model to write.
        random_weights: the folder has no weights; make some (seeded).
        **options: as in export_torch.
    """
    import torch
    import transformers

    place = pathlib.Path(folder)
    if not (place / "config.json").is_file():
        raise ValueError(f"'{place}' has no config.json; a folder of save_pretrained is needed")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with running(f"'{place}/config.json' cannot be read"):
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=True)
    names = config.architectures or []
    kind = getattr(transformers, names[0], None) if names else transformers.AutoModel
    if kind is None:
        raise ValueError(f"transformers has no '{names[0]}', which config.json names")
    with running(f"no {names[0] if names else 'model'} can be made of '{place}'"):
        if random_weights:
            torch.manual_seed(0)
            make: Any = getattr(kind, "_from_config", None) or kind.from_config
            model = make(config, attn_implementation="eager")
        else:
            model = kind.from_pretrained(place, local_files_only=True, attn_implementation="eager")
    return export_model(model, path, **options)
