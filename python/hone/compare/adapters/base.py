"""What every framework must do to be compared."""

from __future__ import annotations

import abc
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from ..job import Absent, Job

Feeds = dict[str, np.ndarray]


class Adapter(abc.ABC):
    """One model in one framework.

    The calls come in this order: `check`, `prepare` (in another process, not measured), `load`,
    `bind`, `run` many times, `outputs`. Only `load` and `run` are timed. Inputs are bound before
    the runs, wherever a framework can do that, so that a run is its own work and not Python's.
    """

    #: Precisions that the framework has, and why it lacks the others.
    precisions: Sequence[str] = ("fp32",)
    lacks = "this framework has no such precision on the CPU"

    def __init__(self, job: Job) -> None:
        self.job = job
        #: What a reader should know, e.g. that a limit could not be set.
        self.note = ""

    @classmethod
    @abc.abstractmethod
    def version(cls) -> str: ...

    def check(self) -> None:
        """Raise Absent when the job cannot be done."""
        if self.job.precision not in self.precisions:
            raise Absent(self.lacks)
        self.model()

    def prepare(self) -> None:  # noqa: B027  # most build nothing
        """Build what is built once, ahead of time, into job.work."""

    @abc.abstractmethod
    def load(self) -> None:
        """From files to something that can run."""

    @abc.abstractmethod
    def bind(self, feeds: Feeds) -> None: ...

    @abc.abstractmethod
    def run(self) -> None: ...

    @abc.abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """Of the last run, in the model's order."""

    def model(self) -> pathlib.Path:
        """The file that is loaded; raises Absent when there is none."""
        path = pathlib.Path(self.job.model)
        if self.job.precision == "int8":
            path = path.with_suffix(".int8.onnx")
        return require(path)

    def disk_bytes(self) -> int:
        return os.stat(self.model()).st_size


def require(path: pathlib.Path) -> pathlib.Path:
    if not path.exists():
        raise Absent(f"there is no {path.name} beside the model")
    return path
