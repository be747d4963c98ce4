"""The function that every long job calls to report its progress."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

Progress = Callable[[str, int, int | None], None]
"""`step(what, done, total)`: what is in progress, the steps done, and the steps in all; None if that is unknown."""


def silent(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


def each_tenth(log: Callable[[str], None]) -> Progress:
    """Return a `Progress` that logs a line at every tenth of the steps, with the minutes left."""
    current, last, first, first_at, reached = "", 0, 0, 0.0, 0

    def step(what: str, done: int, total: int | None) -> None:
        nonlocal current, last, first, first_at, reached
        if what != current or done < last:  # another job; a resumed one starts with the steps of an earlier run
            current, first, first_at, reached = what, done, monotonic(), 0
        last = done
        if total and (tenth := 10 * done // total) > reached:
            reached, left = tenth, ""
            if first < done < total:
                left = f", {(total - done) * (monotonic() - first_at) / (done - first) / 60:.0f} min left"
            log(f"{done:,} of {total:,} {what}{left}")

    return step
