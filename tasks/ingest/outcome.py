"""The outcome of fetching a file, the retry policy, and the limits of a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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
    `longest`, the file fails. Progress of at least `progress` bytes resets the count of tries. A transfer with less
    than `least_rate` bytes per second over `read_timeout` seconds is stopped, and resumed like a dropped one.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 120.0
    read_timeout: float = 60.0
    least_rate: float = 10_000.0
    progress: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a fetched file, in bytes: its size, and the space to leave free on the disk.

    By default 5 % of the disk is left free, or 1 GB if that is less.
    """

    largest: int = 10_000_000_000
    least_free: int | None = None

    def check(self, size: int, more: int, folder: Path) -> str | None:
        """Return why a file of `size` bytes, `more` of them still to be written, exceeds a limit, or None."""
        if size > self.largest:
            allow = "allow larger files (setting max_gb, or --max-gb) if you trust its source"
            return f"exceeds {self.largest / 1e9:g} GB; {allow}"
        disk = shutil.disk_usage(folder)
        least = min(disk.total // 20, 1_000_000_000) if self.least_free is None else self.least_free
        if disk.free - more < least:
            return f"the disk has {disk.free / 1e6:,.0f} MB free, of which {least / 1e6:,.0f} MB are kept free"
        return None


Log = Callable[[FileOutcome], None]
"""A function that takes the outcome of each file as soon as it is known."""
