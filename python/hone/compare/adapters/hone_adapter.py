"""hone: an engine file, built ahead of time for the shapes and threads of the job."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

import hone

from ..job import Absent
from .base import Adapter, Feeds
from .engine import engine_path


class HoneAdapter(Adapter):
    precisions = ("fp32", "bf16", "int8")

    @classmethod
    def version(cls) -> str:
        return hone.__version__

    def check(self) -> None:
        super().check()
        known = {field.name for field in dataclasses.fields(hone.SessionOptions)}
        if self.job.precision == "bf16" and "precision" not in known:
            raise Absent("this version of hone has no BF16")

    def engine(self) -> pathlib.Path:
        return engine_path(self.job)

    def prepare(self) -> None:
        job = self.job
        options: dict[str, Any] = {
            "intra_op_num_threads": job.threads,
            "shapes": job.shapes,
            "tune": job.tune,
            "tune_cache": str(pathlib.Path(job.work) / "tuning"),
        }
        if job.precision == "bf16":
            options["precision"] = "bf16"
        try:
            hone.build(self.model(), self.engine(), **options)
        except hone.HoneError as error:
            # Sizes may contradict a branch that is never taken; open shapes do not.
            self.note = f"built for open shapes, because: {error}"
            hone.build(self.model(), self.engine(), **{**options, "shapes": {}})

    def load(self) -> None:
        self.session = hone.InferenceSession(self.engine(), threads=self.job.threads)

    def bind(self, feeds: Feeds) -> None:
        self.bound = self.session.bind(feeds)
        self.run = self.bound.run  # type: ignore[method-assign]  # one call less in the loop

    def run(self) -> None:
        self.bound.run()

    def outputs(self) -> list[np.ndarray]:
        return self.bound.outputs()

    def disk_bytes(self) -> int:
        return os.stat(self.engine()).st_size
