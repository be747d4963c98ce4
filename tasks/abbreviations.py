"""Find the abbreviations that a text defines, such as "renal cell carcinoma (RCC)".

Algorithm: A. S. Schwartz and M. A. Hearst, A simple algorithm for identifying abbreviation definitions in biomedical
text, Pacific Symposium on Biocomputing 2003, 451-462, implemented by the `abbreviations` library. This module works
around four of its limits:

* One unmatched or empty bracket ("1) ... 2) ...") makes it skip the whole line: such brackets are blanked first.
* It searches back to the start of the line for each candidate, so the text is split into lines of bounded length.
* Its time is quadratic in the words before a candidate, and a line of brackets has hundreds of candidates:
  `_words_before` finds the same words in linear time.
* It counts the s of a plural as a letter of the short form: "(SSRIs)" is passed as "(SSRI)".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

_LONGEST_LINE = 4000  # code points: holds an abstract, not an article
_LONGEST_LONG_FORM = 15  # words: those of a short form of 10 characters
_QUOTES = re.compile(  # Unicode's initial and final punctuation
    r"([(])['\"«‘‛“‟‹⸂⸄⸉⸌⸜⸠]|['\"»’”›⸃⸅⸊⸍⸝⸡]([);:])"
)
_PLURAL = re.compile(r"\((S[A-Z0-9]+)s\)")


def find_abbreviations(text: str) -> dict[str, str]:
    """Return the long form of each short form, both as written in the text; the first definition wins."""
    if "(" not in text:
        return {}
    lines = "\n".join(_lines(_blank_odd_brackets(text)))
    plurals = {single: f"{single}s" for single in _PLURAL.findall(lines)}
    found: dict[str, str] = {}
    for line in _PLURAL.sub(r"(\1)", lines).split("\n"):
        for short, long in _defined(line.strip()):
            found.setdefault(short, long)
    return {plurals.get(short, short): long for short, long in found.items() if short in text and long in text}


def _defined(line: str) -> Iterator[tuple[str, str]]:
    """Yield the short forms of a line that have a long form before them, with it."""
    library = _library()
    line = _QUOTES.sub(r"\1\2", line)
    with suppress(ValueError, IndexError):  # a line whose brackets do not match or are empty
        for short in library.best_candidates(line):
            with suppress(ValueError, IndexError):
                if words := _words_before(short, line):
                    yield str(short), str(library.select_definition(library.Candidate(words), short))


def _words_before(short: Any, line: str) -> str | None:
    """Return the last words before a short form that begin with its first character as often as it has this character.

    Like `get_definition` of the library, but without the words that are too far away to be part of the long form.
    """
    before = re.split(r"[\s\-]+", line[: short.start - 2].lower())
    first, begins = short[0].lower(), [word[0] for word in before if word]
    wanted = short.lower().count(first)
    places = [place for place, begin in enumerate(begins) if begin == first]
    if len(places) < wanted:
        return None
    words = line[len(" ".join(before[: places[-wanted]])) : short.start - 1].strip()
    if short in words.split():
        return None
    far, *near = words.rsplit(maxsplit=_LONGEST_LONG_FORM + 1)
    return words[len(far) :].strip() if len(near) > _LONGEST_LONG_FORM else words


@cache
def _library() -> Any:
    """Import the untyped library under a temporary handler, since it would otherwise configure the root logger."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        from abbreviations import schwartz_hearst
    finally:
        root.removeHandler(handler)
    return schwartz_hearst


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
