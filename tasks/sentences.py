"""Splits a document into sentences, each with its code-point offsets in the document's own text.

Why no library does this: `benchmarks/sentences.py` measures four splitters beside this one. No gold mention is cut by
three of them, as here; but two of the three leave plain sentence ends unsplit, and the third takes ten times as long.
What an abstract needs on top of "full stop, space, next word" is a short list of protections, all in `_ends_sentence`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from model.document import Document, Passage, Sentence

MAX_SENTENCE = 1000
"""The longest sentence in code points: tables in full texts have no full stop, and an encoder has an end."""

_LONGEST_BRACKET = 300  # code points; a bracket pair further apart than this holds sentences of its own

_CANDIDATE = re.compile(
    r"""
      [.!?] (?: ["'”’»)\]] | \s"(?=\s) )* \s+   # end mark, closing quotes and brackets, white space
    | (?<= [a-z]{3}) \. (?= [A-Z][a-z]+\s )     # a space forgotten: "was given.After that"
    | \. (?= \(ABSTRACT\ TRUNCATED )            # MEDLINE's note, glued to the last sentence
    | \n \s* \n                                 # paragraph
    """,
    re.VERBOSE,
)

_NEVER_LAST = re.compile(
    r"(?<![^\W_])(?:[Ee]\.g|[Ii]\.e|eg|ie|[Vv]\.?s|cf|viz|al|[Ff]igs?|[Ee]qs?|[Rr]efs?|[Aa]pprox|ca|subsp|Drs?|Prof|Mrs?|St)$"
)
_BEFORE_NUMBER = re.compile(r"(?<![^\W_])(?:[Nn]os?|[Nn]r|[Vv]ol|pp?|c|g|m|n|r|sect|chap|ver)$")
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d$")
_OPERATOR = re.compile(r"[<>=≤≥~]\s*$")
_INITIAL = re.compile(r"(?:^|[,;:&(\[]\s*|\b[A-Z]\.[\s-]*|\b(?:and|by|In)\s+)[A-Z]$")
_PLAIN_WORD = re.compile(r"(?<![^\s(\"])[a-z]{4,}$")


def split_sentences(document: Document) -> tuple[Sentence, ...]:
    """The sentences of every passage, in order; offsets count code points of `document.text`, the end exclusive.

    A sentence never crosses a passage, neither begins nor ends with white space, and is at most `MAX_SENTENCE`
    code points long. Every character that is not white space lies in exactly one sentence.
    """
    return tuple(sentence for passage in document.passages for sentence in _sentences(passage))


def sentence_starts(text: str) -> list[int]:
    """Where the sentences of a text begin, before long ones are broken up: ascending, the first is 0."""
    starts = [0]
    brackets = _bracketed(text)
    for match in _CANDIDATE.finditer(text):
        mark, after = match.span()
        while brackets and brackets[0][1] < mark:
            brackets.popleft()
        opened, closed = brackets[0] if brackets else (after, after)
        sentence_in_brackets = opened == starts[-1] and closed < after  # "(None was severe.)"
        inside = opened < mark and not sentence_in_brackets
        if after < len(text) and not inside and _ends_sentence(text, starts[-1], mark, after):
            starts.append(after)
    return starts


def _sentences(passage: Passage) -> Iterator[Sentence]:
    text = passage.text
    starts = sentence_starts(text)
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        for first, last in _broken_up(text, start, end):
            stripped = text[first:last].strip()
            if stripped:
                begin = passage.offset + text.index(stripped, first)
                yield Sentence(begin, begin + len(stripped), stripped)


def _ends_sentence(text: str, start: int, mark: int, after: int) -> bool:
    """Whether the end mark at `mark` closes the sentence begun at `start`; the next one would begin at `after`."""
    if text[mark] != ".":
        return True  # "!", "?" and paragraphs
    before = text[max(start, mark - 40) : mark]
    following = text[after]
    if mark - start <= 2:  # a number or letter in front of an item: "3. Numbers needed to treat"
        return False
    if _NEVER_LAST.search(before):
        return False
    if (
        following.isdigit()
        and (  # decimals ("P <. 001", "29. 6%", "EC 1. 1. 1. 49") and "no. 203500"
            _BEFORE_NUMBER.search(before)
            or _OPERATOR.search(before)
            or (before[-1:].isdigit() and not _YEAR.search(before))
        )
    ):
        return False
    if following.islower():  # "E. coli", "20 ng./ml. in 5 men"; yet "were sequenced. mRNA levels" ends
        return _PLAIN_WORD.search(before) is not None
    return _INITIAL.search(before) is None


def _bracketed(text: str) -> deque[tuple[int, int]]:
    """The places of matching round and square brackets, outermost pairs only; unmatched ones count for nothing."""
    opened: list[int] = []
    pairs: deque[tuple[int, int]] = deque()
    for match in re.finditer(r"[(\[)\]]", text):
        if match.group() in "([":
            opened.append(match.start())
        elif opened:
            first = opened.pop()
            if match.start() - first <= _LONGEST_BRACKET:
                while pairs and pairs[-1][0] > first:
                    pairs.pop()
                pairs.append((first, match.start()))
    return pairs


def _broken_up(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cuts `text[start:end]` into pieces of at most `MAX_SENTENCE`, best after ";" or ",", else at white space."""
    while end - start > MAX_SENTENCE:
        window = text[start : start + MAX_SENTENCE]
        cut = 0
        for pattern in (r".*[;:,|]\s", r".*\s"):
            found = re.match(pattern, window, re.DOTALL)
            if found and found.end() > MAX_SENTENCE // 2:
                cut = found.end()
                break
        cut = cut or MAX_SENTENCE
        yield start, start + cut
        start += cut
    yield start, end
