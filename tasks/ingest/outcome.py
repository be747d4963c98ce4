"""What became of the files that were to be fetched, and how patient fetching is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file; `bytes` are its own, where it is there. A source that cannot be listed is failed too."""

    name: str
    outcome: Literal["fetched", "unchanged", "failed"]
    bytes: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a request is made that the network or the server fails, and how long to wait between, in seconds.

    Waits double from `first`, up to `longest`, and a server's own wish (Retry-After) counts; a longer one fails the
    file. What has gone on by at least `progress` bytes counts as a first try again.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 120.0
    silence: float = 60.0  # for the next bytes of an answer
    progress: int = 1 << 20


Watch = Callable[[FileOutcome], None]
