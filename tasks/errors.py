"""Errors a user can cause or mend; each message is one line that names the file, or several of ProblemsError."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LINES = 30  # of a message


class InputError(Exception):
    """Something about the input stops the work; the message says what, where and what to do."""


class SourceError(InputError):
    """A whole source cannot be read, or not to its end: damaged, empty, of an unknown format, or hostile."""


class ProblemsError(InputError):
    """Several problems, one on each line of the message; `problems_in_lines` bounds their number."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(problems_in_lines(problems)))


def problems_in_lines(problems: Iterable[str]) -> list[str]:
    """Return one line for each problem, at most MOST_LINES, and a last one that counts the others."""
    lines = [" ".join(problem.split()) for problem in problems]
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more:,} more; see e2emern status"] if more > 0 else [])]
