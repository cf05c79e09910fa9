"""A PyTorch module as a function of named arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .inputs import Array, Feeds

#: of any depth, from what a model returns
Flat = list[tuple[str, torch.Tensor]]


def flatten(value: Any, name: str = "") -> Flat:
    """The tensors in what a model returns, with names from fields and positions."""
    if isinstance(value, torch.Tensor):
        return [(name or "output", value)]
    prefix = f"{name}_" if name else ""
    if isinstance(value, Mapping):
        return [t for key, v in value.items() for t in flatten(v, f"{prefix}{key}")]
    if isinstance(value, (tuple, list)):
        part = prefix or "output_"
        return [t for i, v in enumerate(value) for t in flatten(v, f"{part}{i}")]
    return []  # None, caches, numbers


class Adapter(nn.Module):
    """A module of positional tensors that gives a tuple of tensors, as exporters ask for."""

    def __init__(self, inner: nn.Module, names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.inner, self.names = inner, tuple(names or ())

    def forward(self, *values: torch.Tensor) -> Any:
        named = dict(zip(self.names, values))
        result = self.inner(**named) if named else self.inner(*values)
        flat = [tensor for _, tensor in flatten(result)]
        return flat[0] if len(flat) == 1 else tuple(flat)


def to_tensors(feeds: Feeds) -> list[torch.Tensor]:
    return [torch.from_numpy(value.copy()) for value in feeds.values()]


def runner(model: nn.Module) -> Callable[[Feeds], list[Array]]:
    """The model on arrays, in the order of the feeds."""

    def run(feeds: Feeds) -> list[Array]:
        with torch.no_grad():
            return [t.detach().numpy() for _, t in flatten(model(*to_tensors(feeds)))]

    return run


def tracer(model: nn.Module) -> Callable[[Feeds], dict[str, Array]]:
    """The outputs of all submodules that give one tensor, in the order in which they ended."""

    def trace(feeds: Feeds) -> dict[str, Array]:
        seen: dict[str, Array] = {}
        hooks = []
        for path, module in model.named_modules():

            def keep(_module: nn.Module, _args: Any, out: Any, path: str = path) -> None:
                if isinstance(out, torch.Tensor):
                    seen[path] = out.detach().numpy().copy()

            hooks.append(module.register_forward_hook(keep))
        try:
            with torch.no_grad():
                model(*to_tensors(feeds))
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    return trace
