"""The progress of a command on standard error: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich import progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

from e2emern.flows.cli.terminal import VisibleConsole, duration, is_plain


class TerminalProgress:
    """A `Progress` that shows the stages of a command one after the other, each with its rate and the time left.

    A stage begins when `what` changes, or when `done` falls: the next model starts from zero. The steps that are done
    when a stage begins do not count for its rate, since an earlier run did them. The time left needs a total.
    """

    def __init__(
        self, console: Console | None = None, *, every: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show on `console`; if it is not a terminal, print at most one line every `every` seconds."""
        self._console = console or VisibleConsole(stderr=True)
        self._every = every
        self._clock = clock
        self._bar: progress.Progress | None = None
        self._what = ""
        self._done = self._before = 0
        self._begun = self._printed = 0.0

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps are done."""
        now = self._clock()
        if what != self._what or done < self._done:
            self._stop()
            self._what, self._before, self._begun, self._printed = what, done, now, now
            if not is_plain(self._console):
                self._bar = _started_bar(self._console, total)
        self._done = done
        rate = (done - self._before) / (now - self._begun) if now > self._begun else 0.0
        line = _line(what, done, total, rate=rate)
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=line)
        elif now - self._printed >= self._every:
            self._printed = now
            self._console.print(Text(line), soft_wrap=True)

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def _started_bar(console: Console, total: int | None) -> progress.Progress:
    text = progress.TextColumn("{task.description}", table_column=Column(no_wrap=True), markup=False)
    elapsed = progress.TimeElapsedColumn(table_column=Column(min_width=len("0:00:00")))
    columns = [text, progress.BarColumn(bar_width=None), elapsed]
    bar = progress.Progress(*columns, console=console, transient=True, expand=True)
    bar.add_task("", total=total)
    bar.start()
    return bar


def _line(what: str, done: int, total: int | None, *, rate: float) -> str:
    of = "" if total is None else f" of {total:,}"
    line = f"{done:,}{of} {what}, {rate:,.{0 if rate >= 100 else 1}f}/s"
    if total is not None and rate:
        line += f", {duration(max(0, total - done) / rate)} left"
    return line
