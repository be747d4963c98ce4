"""Separate the titles of PubTator records from the previous line, to which joining files may have glued them.

`cat a.txt b.txt` glues the first title of `b.txt` to the last line of `a.txt` if that has no line end:
`981|a|Asthma in men.982|t|Psoriasis and methotrexate.` As the id may follow a digit, and as texts may hold `|t|`
themselves, the following line decides: `982|a|` or an annotation of 982 proves the title of 982.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from e2emern.tasks.errors import SourceError

Line = tuple[int, str]  # 1-based line number, text without its line end

_TITLE = "|t|"
_FOLLOWS = re.compile(r"([^|\t\s]+)(?:\|a\||\t)")
_LIKELY = re.compile(r"[0-9]{4,}\|t\|")  # shorter numbers occur in formulas such as exp(-2|t|)


def separate_titles(lines: Iterator[Line]) -> Iterator[Line]:
    """Yield the lines, each proven title on its own; both parts of a glued line keep its number.

    A blank line is inserted between the two, since they are from different files.

    Raises SourceError as `lines` does, after the lines that precede it.
    """
    held: list[Line] = []  # a line that may hold a glued title, and the blank lines after it
    try:
        for number, line in lines:
            if held and line.strip():
                yield from _separated(held, following=line)
                held = []
            if held or _TITLE in line:
                held.append((number, line))
            else:
                yield number, line
    except SourceError:
        yield from _separated(held, following="")
        raise
    yield from _separated(held, following="")


def likely_title(text: str) -> str | None:
    """Return the part of a text that looks like the beginning of another record: `982123|t|`."""
    match = _LIKELY.search(text) if _TITLE in text else None
    return match[0] if match else None


def _separated(held: list[Line], *, following: str) -> Iterator[Line]:
    if not held:
        return
    (number, line), *blank = held
    at = _glued_at(line, following)
    if at:
        yield number, line[:at].removesuffix("\ufeff").removesuffix("\r")
        yield number, ""
    yield number, line[at:]
    yield from blank


def _glued_at(line: str, following: str) -> int:
    """Return the start of the title that the following line proves; 0 if it proves none, or the whole line."""
    match = _FOLLOWS.match(following)
    at = line.rfind(match[1] + _TITLE) if match else 0
    if match and match[0].endswith("\t") and at > 0 and not re.search(r"[|\t]", line[:at]):
        return 0  # matches only the end of the title's own id: a mistyped id in an annotation proves nothing
    return max(at, 0)
