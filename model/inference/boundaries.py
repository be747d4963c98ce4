"""Settles where spans begin and end.

The tags of single words leave three kinds of error that a look at the words mends: a hyphen, a semicolon or "of the" at
the end of a mention, half of a pair of brackets, and a part of a name for the whole of it. "Migraine with aura" was
"migraine" and "aura", and "di(n-butyl) phthalate" was "n-butyl) phthalate".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..pieces import Window
from ..vocabulary import Vocabulary, normalise
from .linking import Span

FURTHER = 6  # words that a span may grow by, to either side
LONGEST = 8  # words of a name that a span may grow to; longer ones brought nothing on dev
NO_SUBSTANCE = ("D08", "D12", "D27")  # trees of enzymes, proteins and actions: no chemicals as the corpora have it

_NO_END = frozenset("-;:,./") | {"an", "and", "by", "for", "from", "in", "of", "or", "the", "to", "with"}
_SEVERAL = re.compile(r"[,;] | [(\[]|[)\]] |/|%")  # joins names, or puts them in another order


def settle_boundaries(
    spans: Sequence[Span], *, windows: Sequence[Window], sentences: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> list[Span]:
    """The spans without punctuation or joining words at their ends, grown to the longest name of their type.

    A span does not grow over one of another type. Of spans that came to overlap the longest is left, as sure as the
    surest of them.

    Args:
        sentences: the sentences' texts of each document.
    """
    of_window: dict[int, list[Span]] = {}
    for span in spans:
        of_window.setdefault(span.window, []).append(span)
    settled = []
    for at, mine in of_window.items():
        window = windows[at]
        line = _Line(window, sentences[window.document][window.sentence])
        trimmed = [line.trimmed(span) for span in mine]
        trimmed = [line.opened(span, beside=trimmed) for span in trimmed]
        grown = [line.grown(span, beside=trimmed, vocabulary=vocabulary) for span in trimmed]
        settled += _without_overlap(grown)
    return settled


class _Line:
    """The words of a window."""

    def __init__(self, window: Window, sentence: str) -> None:
        self.window, self.begin, self.sentence = window, window.sentence_start, sentence
        self.words = [self.text(at, at + 1) for at in range(len(window.first))]
        self._folded = [normalise(word) for word in self.words]

    def folded(self, first: int, last: int) -> str:
        return " ".join(filter(None, self._folded[first:last]))

    def text(self, first: int, last: int) -> str:
        return self.sentence[self.window.start[first] - self.begin : self.window.end[last - 1] - self.begin]

    def at(self, span: Span, first: int, last: int) -> Span:
        """The span with other words."""
        start, end = int(self.window.start[first]), int(self.window.end[last - 1])
        return replace(span, start=start, end=end, text=self.text(first, last), first=first, last=last)

    def trimmed(self, span: Span) -> Span:
        first, last = span.first, span.last
        while last - first > 1 and self.words[last - 1] in _NO_END:
            last -= 1
        while last - first > 1 and self.words[first] in _NO_END:
            first += 1
        return span if (first, last) == (span.first, span.last) else self.at(span, first, last)

    def opened(self, span: Span, *, beside: Sequence[Span]) -> Span:
        """The span from the beginning of the word that its half pair of brackets opens in, as in "di(n-butyl)"."""
        closed = 0
        for word in reversed(self.words[span.first : span.last]):
            closed = closed + 1 if word == ")" else max(0, closed - 1) if word == "(" else closed
        first = span.first
        while closed and first > max(0, span.first - FURTHER):
            first -= 1
            closed += (self.words[first] == ")") - (self.words[first] == "(")
        if closed or first == span.first:
            return span
        while first and self._is_joined(first) and (self.words[first - 1].isalnum() or self.words[first - 1] == "-"):
            first -= 1
        if not self.words[first].isalnum() or _meets_other(span, first, span.last, beside):
            return span
        return self.at(span, first, span.last)

    def _is_joined(self, word: int) -> bool:
        """Whether nothing stands between a word and the one before."""
        return bool(self.window.end[word - 1] == self.window.start[word])

    def grown(self, span: Span, *, beside: Sequence[Span], vocabulary: Vocabulary) -> Span:
        own = self.folded(span.first, span.last)
        ranges = (
            (first, last)
            for first in range(max(0, span.first - FURTHER), span.first + 1)
            for last in range(span.last, min(len(self.words), span.last + FURTHER, first + LONGEST) + 1)
            if self.folded(first, last) != own
        )
        for first, last in sorted(ranges, key=lambda words: words[0] - words[1]):
            if self._is_name(first, last, span.entity_type, vocabulary) and not _meets_other(span, first, last, beside):
                return self.at(span, first, last)
        return span

    def _is_name(self, first: int, last: int, kind: str, vocabulary: Vocabulary) -> bool:
        """Whether words are a name that begins and ends with a word, and is one name as it stands."""
        bearers = vocabulary.bearers(self.folded(first, last), entity_type=kind)
        if not any(_is_annotated(vocabulary.concepts[at].tree_numbers) for at in bearers):
            return False
        text = self.text(first, last)
        ends = (text[0].isalnum() or text[0] in "([") and (text[-1].isalnum() or text[-1] in ")]")
        balanced = text.count("(") == text.count(")") and text.count("[") == text.count("]")
        return ends and balanced and not _SEVERAL.search(text)


def _meets_other(span: Span, first: int, last: int, beside: Sequence[Span]) -> bool:
    """Whether words that a span would grow to belong to one of another type."""
    return any(each.first < last and first < each.last for each in beside if each.entity_type != span.entity_type)


def _is_annotated(trees: Sequence[str]) -> bool:
    return not trees or not all(tree.startswith(NO_SUBSTANCE) for tree in trees)


def _without_overlap(spans: Sequence[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.first - span.last, -span.score)):
        met = [at for at, each in enumerate(kept) if each.first < span.last and span.first < each.last]
        for at in met:
            kept[at] = replace(kept[at], score=max(kept[at].score, span.score))
        if not met:
            kept.append(span)
    return sorted(kept, key=lambda span: span.first)
