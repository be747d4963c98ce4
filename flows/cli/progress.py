"""The progress of a command on standard error: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich import progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

from e2emern.flows.cli.terminal import VisibleConsole, is_plain
from e2emern.flows.stages import Stage


class TerminalProgress:
    """A `Progress` that shows the stages of a command one after the other, each with its rate and the time left.

    A `Stage` decides when a stage begins, and what counts for its rate. The time left needs a total.
    """

    def __init__(
        self, console: Console | None = None, *, every: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show on `console`; if it is not a terminal, print at most one line every `every` seconds."""
        self._console = console or VisibleConsole(stderr=True)
        self._every = every
        self._clock = clock
        self._bar: progress.Progress | None = None
        self._stage: Stage | None = None
        self._printed = 0.0

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps are done."""
        now = self._clock()
        if self._stage is None or not self._stage.continues(what, done):
            self._stop()
            self._stage, self._printed = Stage(what, done, now), now
            if not is_plain(self._console):
                self._bar = _started_bar(self._console, total)
        line = self._stage.describe(done, total, now=now)
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
