"""Progress bars of a run: encoding of names, then annotation of documents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console

from flows.cli.terminal import show_progress
from tasks.sources import Source, count_records


class TerminalWatch:
    """A progress bar on a console for each stage of a run, one after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stack = ExitStack()
        self._unit = ""
        self._advance: Callable[[int], None] = lambda more: None
        self._documents: int | None = None
        self._names = 0

    def __enter__(self) -> TerminalWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def sources(self, todo: list[Source]) -> None:
        """Count the records of the sources to annotate."""
        self._documents = sum(map(count_records, todo))

    def names(self, what: str, done: int, total: int | None) -> None:
        """Show how many names of the vocabulary are encoded."""
        self._show(what, total, before=done)
        self._advance(done - self._names)
        self._names = done

    def documents(self, more: int) -> None:
        """Show that `more` documents are annotated."""
        self._show("documents", self._documents)
        self._advance(more)

    def _show(self, unit: str, total: int | None, *, before: int = 0) -> None:
        if unit != self._unit:
            self._stack.close()
            self._unit, self._names = unit, before
            self._advance = self._stack.enter_context(
                show_progress(console=self._console, total=total, unit=unit, before=before)
            )


class StepWatch:
    """A progress bar on a console for each task that reports how many of its steps are done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stack = ExitStack()
        self._what = ""
        self._done = 0
        self._advance: Callable[[int], None] = lambda more: None

    def __enter__(self) -> StepWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def step(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps of the task `what` are done."""
        if what != self._what or done < self._done:  # the next model starts from zero
            self._stack.close()
            self._what, self._done = what, done
            self._advance = self._stack.enter_context(
                show_progress(console=self._console, total=total, unit=what, before=done)
            )
        self._advance(done - self._done)
        self._done = done
