"""The stage of a job that reports its progress: what is done, the rate, and the time left."""

from __future__ import annotations

from dataclasses import dataclass

from e2emern.warehouse.wording import duration


@dataclass(slots=True)
class Stage:
    """A stage begins when `what` changes, or when `done` falls: the next model starts from zero.

    Attributes:
        what: what is counted.
        before: steps that were done when it began; an earlier run did them, so they do not count for the rate.
        begun: time at which it began, in seconds.
        done: steps that are done.
    """

    what: str
    before: int
    begun: float
    done: int = 0

    def continues(self, what: str, done: int) -> bool:
        """Return whether a report belongs to this stage."""
        return what == self.what and done >= self.done

    def describe(self, done: int, total: int | None, *, now: float) -> str:
        """Return the report in words, such as `20 of 80 documents, 2.0/s, 30.0 s left`."""
        self.done = done
        rate = (done - self.before) / (now - self.begun) if now > self.begun else 0.0
        of = "" if total is None else f" of {total:,}"
        line = f"{done:,}{of} {self.what}, {rate:,.{0 if rate >= 100 else 1}f}/s"
        if total is not None and rate:
            line += f", {duration(max(0, total - done) / rate)} left"
        return line
