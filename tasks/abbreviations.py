"""Finds the abbreviations that a text defines, such as "renal cell carcinoma (RCC)".

Algorithm: A. S. Schwartz and M. A. Hearst, A simple algorithm for identifying abbreviation definitions in biomedical
text, Pacific Symposium on Biocomputing 2003, 451-462; as the `abbreviations` library has it. The library gives up a
whole line for one unmatched or empty bracket, "1) ... 2) ...", and looks back to the line's start for each candidate:
so brackets without a partner are blanked, and the text is handed over in lines of bounded length. It asks for as many
words with the first letter as the short form has of it, and counts the s of a plural: so "(SSRIs)" is read as "(SSRI)".
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Protocol

_LONGEST_LINE = 4000  # code points; a whole abstract, but not a whole article
_PLURAL = re.compile(r"\((S[A-Z0-9]+)s\)")


class _Finder(Protocol):
    def __call__(self, *, doc_text: str, first_definition: bool) -> dict[str, str]: ...


def find_abbreviations(text: str) -> dict[str, str]:
    """Short form to long form, both as they stand in the text; the first definition of a short form counts."""
    if "(" not in text:
        return {}
    lines = "\n".join(_lines(_without_odd_brackets(text)))
    plurals = {single: f"{single}s" for single in _PLURAL.findall(lines)}
    found = _finder()(doc_text=_PLURAL.sub(r"(\1)", lines), first_definition=True)
    return {
        plurals.get(short, str(short)): str(long) for short, long in found.items() if short in text and long in text
    }


@cache
def _finder() -> _Finder:
    """The library's function, imported under a handler: else its import would set up the root logger for everyone."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        from abbreviations import schwartz_hearst
    finally:
        root.removeHandler(handler)
    schwartz_hearst.log.setLevel(logging.WARNING)  # it tells every candidate that it leaves out
    found: _Finder = schwartz_hearst.extract_abbreviation_definition_pairs
    return found


def _without_odd_brackets(text: str) -> str:
    """The text with empty brackets, and brackets that have no partner, turned into spaces: offsets stay."""
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
