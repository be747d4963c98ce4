"""Corrects the starts and ends of spans.

Tags of single words lead to three kinds of error that rules can correct: a hyphen, a semicolon or "of the" at the end
of a mention, half of a pair of brackets, and a part of a name instead of the whole. Examples: "migraine" and "aura" for
"migraine with aura", and "n-butyl) phthalate" for "di(n-butyl) phthalate".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from e2emern.model.inference.grouping import Span
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import Vocabulary, normalised

FURTHER = 6  # words that a span may grow by on each side
LONGEST = 8  # words of a name that a span may grow to; longer ones gained nothing on dev
NO_SUBSTANCE = ("D08", "D12", "D27")  # enzymes, proteins and actions, which the corpora do not annotate as chemicals

_PAIRS = {")": "(", "]": "["}
_NO_END = frozenset("-;:,./") | {"an", "and", "by", "for", "from", "in", "of", "or", "the", "to", "with"}
_SEVERAL = re.compile(r"[,;] | [(\[]|[)\]] |/|%")  # joins names, or reverses their order


def settle_boundaries(
    spans: Sequence[Span], *, windows: Sequence[Window], sentences: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> list[Span]:
    """Return the spans without punctuation or function words at their ends, grown to the longest name of their type.

    A span does not grow over one of another type. If spans then overlap, the longest is kept, with the greatest of
    their scores.

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
        trimmed = [line.unbracketed(line.opened(span, others=trimmed)) for span in trimmed]
        grown = [line.grown(span, others=trimmed, vocabulary=vocabulary) for span in trimmed]
        settled += _without_overlap(grown)
    return settled


class _Line:
    """The words of a window."""

    def __init__(self, window: Window, sentence: str) -> None:
        self.window, self.sentence = window, sentence
        self.start = (window.start - window.sentence_start).tolist()
        self.end = (window.end - window.sentence_start).tolist()
        self.words = [sentence[start:end] for start, end in zip(self.start, self.end, strict=True)]
        self._folded = [normalised(word) for word in self.words]

    def folded(self, first: int, last: int) -> str:
        return " ".join(filter(None, self._folded[first:last]))

    def text(self, first: int, last: int) -> str:
        return self.sentence[self.start[first] : self.end[last - 1]]

    def at(self, span: Span, first: int, last: int) -> Span:
        """Return the span with other words."""
        start, end = int(self.window.start[first]), int(self.window.end[last - 1])
        return replace(span, start=start, end=end, text=self.text(first, last), first=first, last=last)

    def trimmed(self, span: Span) -> Span:
        first, last = span.first, span.last
        while last - first > 1 and self.words[last - 1] in _NO_END:
            last -= 1
        while last - first > 1 and self.words[first] in _NO_END:
            first += 1
        return span if (first, last) == (span.first, span.last) else self.at(span, first, last)

    def opened(self, span: Span, *, others: Sequence[Span]) -> Span:
        """Return the span extended to the start of the word with its opening bracket, as in "di(n-butyl)"."""
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
        if not self.words[first].isalnum() or _meets_other(span, first, span.last, others):
            return span
        return self.at(span, first, span.last)

    def unbracketed(self, span: Span) -> Span:
        """Return the span without a last bracket that is opened before it, as in "(COVID-19)"."""
        words = self.words[span.first : span.last]
        if len(words) > 1 and words[-1] in _PAIRS and words.count(words[-1]) > words.count(_PAIRS[words[-1]]):
            return self.unbracketed(self.trimmed(self.at(span, span.first, span.last - 1)))
        return span

    def _is_joined(self, word: int) -> bool:
        """Return whether a word follows the one before without a space."""
        return bool(self.end[word - 1] == self.start[word])

    def grown(self, span: Span, *, others: Sequence[Span], vocabulary: Vocabulary) -> Span:
        own = self.folded(span.first, span.last)
        ranges = (
            (first, last)
            for first in range(max(0, span.first - FURTHER), span.first + 1)
            if not own or self._opens(first, vocabulary)
            for last in range(span.last, min(len(self.words), span.last + FURTHER, first + LONGEST) + 1)
            if self.folded(first, last) != own
        )
        for first, last in sorted(ranges, key=lambda words: words[0] - words[1]):
            if self._is_name(first, last, span.entity_type, vocabulary) and not _meets_other(span, first, last, others):
                return self.at(span, first, last)
        return span

    def _opens(self, first: int, vocabulary: Vocabulary) -> bool:
        """Return whether the next two words, without punctuation, begin a name of the vocabulary."""
        opening = self._folded[first : first + 2]
        if not all(opening):
            opening = list(islice(filter(None, self._folded[first : first + LONGEST]), 2))
        joined = " ".join(opening)
        return joined in vocabulary.openings or joined.count(" ") >= len(opening) > 0

    def _is_name(self, first: int, last: int, kind: str, vocabulary: Vocabulary) -> bool:
        """Return whether words are a name of the vocabulary that begins and ends with a word."""
        named = vocabulary.concepts_named(self.folded(first, last), entity_type=kind)
        if not any(_is_annotated(vocabulary.concepts[at].tree_numbers) for at in named):
            return False
        text = self.text(first, last)
        ends = (text[0].isalnum() or text[0] in "([") and (text[-1].isalnum() or text[-1] in ")]")
        balanced = text.count("(") == text.count(")") and text.count("[") == text.count("]")
        return ends and balanced and not _SEVERAL.search(text)


def _meets_other(span: Span, first: int, last: int, others: Sequence[Span]) -> bool:
    """Return whether words that a span would grow to overlap a span of another type."""
    return any(each.first < last and first < each.last for each in others if each.entity_type != span.entity_type)


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
