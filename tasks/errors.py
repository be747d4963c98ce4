"""Errors that a user can cause or fix.

    InputError           the input cannot be used
      SourceError        a source cannot be read to its end
      ProblemsError      several problems, one per line

A message is one line that names the file.
"""

from __future__ import annotations

from collections.abc import Iterable

from e2emern.warehouse.errors import Error

MOST_LINES = 30  # in one message


class InputError(Error):
    """The input cannot be used; the message is `path: where: reason`.

    Attributes:
        reason: what is wrong, and the remedy.
        path: the subject of the error, shown as text: a file, folder, address or member of an archive; None if the
        reason names it or there is none.
        where: the line, record or bytes, None for the whole file or if the reason names it.
    """

    def __init__(self, reason: str, *, path: object = None, where: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.path, self.where = reason, path, where

    def __str__(self) -> str:
        return self.in_file if self.path is None else f"{self.path}: {self.in_file}"

    @property
    def in_file(self) -> str:
        """The message without the path: `where: reason`."""
        return self.reason if self.where is None else f"{self.where}: {self.reason}"


class SourceError(InputError):
    """A source cannot be read to its end: it is damaged, empty, of an unknown format, or unsafe."""


class ProblemsError(InputError):
    """Several problems, one per line of the message; `problems_in_lines` limits their number."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(problems_in_lines(problems)))


def problems_in_lines(problems: Iterable[str]) -> list[str]:
    """Return one line per problem, at most MOST_LINES, and a last line that counts the others."""
    lines = [" ".join(problem.split()) for problem in problems]
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more:,} more; see e2emern status"] if more > 0 else [])]
