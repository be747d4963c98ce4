"""A report of an annotation: counts of each level, and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Counts of the levels, the seconds of each stage, and the requests and hits of each cache."""

    sentences: int = 0
    spans_found: int = 0
    candidates_scored: int = 0
    mentions_linked: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    remembered: dict[str, tuple[int, int]] = field(default_factory=dict)  # asked and found

    def __iadd__(self, other: Report) -> Report:
        self.sentences += other.sentences
        self.spans_found += other.spans_found
        self.candidates_scored += other.candidates_scored
        self.mentions_linked += other.mentions_linked
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        for what, counts in other.remembered.items():
            self.recall(what, counts)
        return self

    def recall(self, what: str, counts: tuple[int, int]) -> None:
        """Add the number of values requested from a cache (`remembered`), and the number of hits."""
        asked, found = self.remembered.get(what, (0, 0))
        self.remembered[what] = asked + counts[0], found + counts[1]

    @property
    def shares(self) -> dict[str, float]:
        """The hit rate of each cache."""
        return {what: round(found / asked, 3) for what, (asked, found) in self.remembered.items() if asked}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        begun = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun
