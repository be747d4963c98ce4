"""A report of an annotation: what the levels did, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """What the levels did, and the seconds of each stage."""

    sentences: int = 0
    spans_found: int = 0
    candidates_scored: int = 0
    mentions_linked: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __iadd__(self, other: Report) -> Report:
        self.sentences += other.sentences
        self.spans_found += other.spans_found
        self.candidates_scored += other.candidates_scored
        self.mentions_linked += other.mentions_linked
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        return self

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        begun = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun
