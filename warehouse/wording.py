"""Format counts, lists and errors for messages. Imports nothing heavy, so any module can use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

MOST_KINDS = 10  # listed one by one in a summary
MOST_EXAMPLES = 10  # of one problem, in a report


def plural(number: int, noun: str) -> str:
    """Return a count with its noun: `1 source`, `2,000 sources`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def by_kind(counts: Mapping[str, int]) -> str:
    """Return counts as text, largest first: `1,200 Gene, 3 Species`; the kinds after `MOST_KINDS` are summed."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    parts = [f"{number:,} {kind}" for kind, number in islice(ordered, MOST_KINDS)]
    if rest := ordered[MOST_KINDS:]:
        parts.append(f"{sum(number for _, number in rest):,} of {plural(len(rest), 'other kind')}")
    return ", ".join(parts)


def examples(items: Sequence[str], *, separator: str = "; ", most: int = MOST_EXAMPLES) -> str:
    """Return the first items in one line and the number of the others: `a; b; and 1,190 more`."""
    shown = list(items[:most])
    if more := len(items) - len(shown):
        shown.append(f"and {more:,} more")
    return separator.join(shown)


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line; the name of its type if it has no message.

    DuckDB's excerpt of the query is left out; its hint of similar names is kept.
    """
    return " ".join(str(error).split("\nLINE ")[0].split()) or type(error).__name__


def cut(line: str, width: int) -> str:
    """Return a text as one line of at most `width` characters; an ellipsis marks a cut."""
    line = " ".join(line.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def duration(seconds: float) -> str:
    """Return a time in words: `20.0 s`, `1 min 30 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
