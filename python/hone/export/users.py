"""Code of the user's that an export runs, and what is said where it fails."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from .explain import NOT_USERS

_OURS = str(pathlib.Path(__file__).parent)
_MOST_FRAMES = 4


class ModelError(RuntimeError):
    """The user's own code failed; the message ends with where and how."""


def tail(error: BaseException) -> str:
    """The last frames of an exception that are the user's own, and what it says."""
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = [f for f in frames if not f.filename.startswith(_OURS) and not NOT_USERS.search(f.filename)]
    lines = traceback.format_list(frames[-_MOST_FRAMES:])
    return "".join([*lines, *traceback.format_exception_only(error)]).rstrip()


@contextlib.contextmanager
def running(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a ModelError that says what failed.

    SystemExit too, which a script that is imported may raise.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelError(f"{what}:\n{tail(error)}") from error


def _import(module: str) -> Any:
    """A module by its name; modules in the current folder are found.

    Raises:
        ValueError: there is none.
        ModelError: it fails while it is imported.
    """
    if module.endswith(".py") or "/" in module:
        name = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ValueError(f"'{module}' is a path; give the module's name: {name}")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"'{module}' is not the name of a module")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # What the module itself imports may be what is missing.
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise ValueError(f"there is no module '{error.name}' in {here} or on PYTHONPATH") from None
        raise ModelError(f"module '{module}' cannot be imported:\n{tail(error)}") from error
    except (Exception, SystemExit) as error:
        raise ModelError(f"module '{module}' cannot be imported:\n{tail(error)}") from error


def make_module(text: str) -> Any:
    """The torch.nn.Module that MODULE:FACTORY is or makes.

    Raises:
        ValueError: the text names nothing that could.
        ModelError: the module or the factory fails.
    """
    import torch

    name, colon, factory = text.partition(":")
    if not colon or not name or not factory:
        raise ValueError(f"'{text}' is not MODULE:FACTORY")
    module = _import(name)
    if not hasattr(module, factory):
        own = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == name and callable(v)]
        there = f"; it has {', '.join(own)}" if own else ""
        raise ValueError(f"module '{name}' has no '{factory}'{there}")
    made = getattr(module, factory)
    if isinstance(made, torch.nn.Module):
        return made
    if not callable(made):
        raise ValueError(f"{text} is {type(made).__name__}, neither a torch.nn.Module nor what makes one")
    with running(f"{text} failed"):
        made = made()
    if not isinstance(made, torch.nn.Module):
        raise ValueError(f"{text} gave {type(made).__name__}, not a torch.nn.Module")
    return made
