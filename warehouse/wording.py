"""How counts and lists are written: a light module, which every message may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

MOST_KINDS = 10  # of which a summary gives each count
MOST_EXAMPLES = 10  # of one fault, in a report


def plural(number: int, noun: str) -> str:
    """Return a number of things in words: `1 source`, `2,000 sources`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def by_kind(counts: Mapping[str, int]) -> str:
    """Return counts in words, the greatest first: `1,200 Gene, 3 Species`; those beyond `MOST_KINDS` kinds together."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    parts = [f"{number:,} {kind}" for kind, number in islice(ordered, MOST_KINDS)]
    if rest := ordered[MOST_KINDS:]:
        parts.append(f"{sum(number for _, number in rest):,} of {plural(len(rest), 'other kind')}")
    return ", ".join(parts)


def examples(items: Sequence[str], *, separator: str = "; ", most: int = MOST_EXAMPLES) -> str:
    """Return the first items in one line, and how many others there are: `a; b; and 1,190 more`."""
    shown = list(items[:most])
    if more := len(items) - len(shown):
        shown.append(f"and {more:,} more")
    return separator.join(shown)


def cut(line: str, width: int) -> str:
    """Return a text as one line of `width` characters at most; an ellipsis marks what was cut."""
    line = " ".join(line.split())
    return line if len(line) <= width else line[: width - 1] + "…"
