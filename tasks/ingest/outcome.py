"""The outcome of fetching a file, and the retry policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The outcome of one file, with its size if it exists, or of a source that cannot be listed."""

    name: str
    outcome: Literal["fetched", "unchanged", "failed"]
    bytes: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The retry policy of requests; times are in seconds.

    Delays double from `first` up to `longest`. A server may ask for a longer delay (Retry-After), but if that exceeds
    `longest`, the file fails. Progress of at least `progress` bytes resets the count of tries.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 120.0
    read_timeout: float = 60.0  # read timeout
    progress: int = 1 << 20


Watch = Callable[[FileOutcome], None]
