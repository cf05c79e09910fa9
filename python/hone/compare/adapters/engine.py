"""Where the engine file of a job lies."""

from __future__ import annotations

import pathlib

from ..job import Job


def engine_path(job: Job) -> pathlib.Path:
    limit = f"-{job.isa}" if job.isa else ""
    label = f"{job.precision}-t{job.threads}-b{job.batch}{limit}"
    return pathlib.Path(job.work) / f"{pathlib.Path(job.model).stem}-{label}.hone"
