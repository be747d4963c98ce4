"""Find the abbreviations that a text defines, such as "renal cell carcinoma (RCC)".

Algorithm: A. S. Schwartz and M. A. Hearst, A simple algorithm for identifying abbreviation definitions in biomedical
text, Pacific Symposium on Biocomputing 2003, 451-462, implemented by the `abbreviations` library. This module works
around three of its limits:

* One unmatched or empty bracket ("1) ... 2) ...") makes it skip the whole line: such brackets are blanked first.
* It searches back to the start of the line for each candidate: the text is split into lines of bounded length.
* It counts the s of a plural as a letter of the short form: "(SSRIs)" is passed as "(SSRI)".
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Protocol

_LONGEST_LINE = 4000  # code points: holds an abstract, not an article
_PLURAL = re.compile(r"\((S[A-Z0-9]+)s\)")


class _Finder(Protocol):
    def __call__(self, *, doc_text: str, first_definition: bool) -> dict[str, str]: ...


def find_abbreviations(text: str) -> dict[str, str]:
    """Return the long form of each short form, both as written in the text; the first definition wins."""
    if "(" not in text:
        return {}
    lines = "\n".join(_lines(_blank_odd_brackets(text)))
    plurals = {single: f"{single}s" for single in _PLURAL.findall(lines)}
    found = _finder()(doc_text=_PLURAL.sub(r"(\1)", lines), first_definition=True)
    return {
        plurals.get(short, str(short)): str(long) for short, long in found.items() if short in text and long in text
    }


@cache
def _finder() -> _Finder:
    """Import the library under a temporary handler: otherwise its import would configure the root logger."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        from abbreviations import schwartz_hearst
    finally:
        root.removeHandler(handler)
    schwartz_hearst.log.setLevel(logging.WARNING)  # it logs every rejected candidate
    found: _Finder = schwartz_hearst.extract_abbreviation_definition_pairs
    return found


def _blank_odd_brackets(text: str) -> str:
    """Replace empty and unmatched brackets by spaces, so that offsets do not change."""
    text = re.sub(r"\(\s*\)", lambda match: " " * len(match.group()), text)
    opened: list[int] = []
    odd: list[int] = []
    for match in re.finditer(r"[()]", text):
        if match.group() == "(":
            opened.append(match.start())
        elif opened:
            opened.pop()
        else:
            odd.append(match.start())
    characters = list(text)
    for place in odd + opened:
        characters[place] = " "
    return "".join(characters)


def _lines(text: str) -> list[str]:
    lines = []
    start = 0
    while len(text) - start > _LONGEST_LINE:
        stop = text.rfind(". ", start + _LONGEST_LINE // 2, start + _LONGEST_LINE)
        end = stop + 1 if stop >= 0 else start + _LONGEST_LINE
        lines.append(text[start:end])
        start = end
    return [*lines, text[start:]]
