"""What an export gives back."""

from __future__ import annotations

import dataclasses
import pathlib

from .explain import Diagnosis
from .measure import Measure
from .proof import Proof


class ExportError(RuntimeError):
    """No exporter could do it; the diagnoses say why."""

    def __init__(self, message: str, diagnoses: list[Diagnosis]) -> None:
        super().__init__(message)
        self.diagnoses = diagnoses


@dataclasses.dataclass
class Export:
    """An exported model and what is known about it."""

    path: pathlib.Path
    source: str  #: framework and version
    exporter: str  #: which exporter made it
    remarks: list[str] = dataclasses.field(default_factory=list)  #: what was not as asked
    diagnoses: list[Diagnosis] = dataclasses.field(default_factory=list)
    n_nodes: tuple[int, int] = (0, 0)  #: before and after hone's passes
    proof: Proof | None = None
    measures: list[Measure] = dataclasses.field(default_factory=list)
    findings: list[str] = dataclasses.field(default_factory=list)  #: of hone check
    reports: list[pathlib.Path] = dataclasses.field(default_factory=list)

    @property
    def is_proved(self) -> bool:
        return self.proof is not None and self.proof.is_equal
