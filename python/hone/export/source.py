"""A model of the source framework, as the proof sees it."""

from __future__ import annotations

import dataclasses

from .inputs import Dynamic, Feeds
from .localise import Tracer
from .proof import Runner


@dataclasses.dataclass
class Source:
    """How to run it, on what, and what of that may change."""

    run: Runner
    feeds: Feeds  #: example inputs
    dynamic: Dynamic
    outputs: list[str]  #: names of what run gives
    trace: Tracer | None = None  #: gives the outputs of its modules


@dataclasses.dataclass
class Settings:
    """What to do with an exported model."""

    optimize: bool = True  #: run hone's passes
    seconds: float = 0.5  #: to time each runtime; 0: not at all
