"""Spans of a batch of documents: from tags, given by the caller, or listed names of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from e2emern.model.inference.features import LEAST_CONFIDENCE
from e2emern.model.inference.grouping import Span
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.tagging import WordSpan, probability_of
from e2emern.model.tokenization import Window

SURE = 0.9  # probability of a tagged span that gives way to no listed name of another type

Given = Sequence[Sequence[tuple[int, int, str]]]
"""Spans to link in each text: start, end, entity type."""


def tagged_spans(
    found: Sequence[Sequence[WordSpan]], *, windows: Sequence[Window], sentences: Sequence[Sequence[str]]
) -> list[Span]:
    """Return the spans of words of each window as spans of their documents.

    Args:
        sentences: the sentences' texts of each document.
    """
    return [
        _placed(span, at, windows[at], sentences[windows[at].document][windows[at].sentence])
        for at, spans in enumerate(found)
        for span in spans
    ]


def with_listed(
    tagged: Sequence[Span],
    *,
    listed: ListedNames,
    probabilities: Sequence[np.ndarray],
    windows: Sequence[Window],
    sentences: Sequence[Sequence[str]],
    tags: list[str],
) -> list[Span]:
    """Return tagged spans, and one for each listed name that touches none of them, with its probability.

    A listed name takes the place of the tagged spans within it if those of another type are unsure: "COVID-19", not
    "COVID", a chemical. It also takes the place of spans that the low level all but rules out. A listed name within a
    longer span ("COVID-19 outbreak") becomes one of its `names`.

    Args:
        probabilities: of the tags of each window's words, (words, L).
        sentences: the sentences' texts of each document.
    """
    of_window: dict[int, list[Span]] = {}
    for span in tagged:
        of_window.setdefault(span.window, []).append(span)
    for at, window in enumerate(windows):
        text, begin = sentences[window.document][window.sentence], window.sentence_start
        for start, end, kind in listed.find(text):
            words = window.words_of(begin + start, begin + end)
            if words is None or window.start[words[0]] != begin + start or window.end[words[1] - 1] != begin + end:
                continue  # in another window of the sentence
            mine = of_window.setdefault(at, [])
            score = probability_of(*words, kind, probabilities[at], tags=tags)
            place = (window.document, begin + start, begin + end, text[start:end], kind)
            name = Span(*place, score, at, *words, listed=True)
            touched = [span for span in mine if span.first < words[1] and words[0] < span.last]
            if all(_gives_way(span, *words, kind) for span in touched):
                score = max([score, *(span.score for span in touched if span.entity_type == kind)])
                of_window[at] = [*(span for span in mine if span not in touched), replace(name, score=score)]
            elif len(touched) == 1 and touched[0].first <= words[0] and words[1] <= touched[0].last:
                mine[mine.index(touched[0])] = replace(touched[0], names=(*touched[0].names, name))
    return [span for at in sorted(of_window) for span in of_window[at]]


def _gives_way(span: Span, first: int, last: int, kind: str) -> bool:
    """Return whether a tagged span gives way to a listed name of words first..last."""
    if span.score < LEAST_CONFIDENCE:
        return True
    same = span.entity_type == kind
    within = first <= span.first and span.last <= last and not (same and span.last - span.first == last - first)
    return within and (same or span.score < SURE)


def given_spans(windows: Sequence[Window], given: Given, *, texts: Sequence[str]) -> list[Span]:
    """Return the given spans, each in the first window that holds one of its words."""
    spans: dict[tuple[int, int, int, str], Span] = {}
    for at, window in enumerate(windows):
        document = window.document
        for start, end, kind in given[document]:
            words = window.words_of(start, end)
            if words is not None and (document, start, end, kind) not in spans:
                text = texts[document][start:end]
                spans[document, start, end, kind] = Span(document, start, end, text, kind, 1.0, at, *words)
    return list(spans.values())


def _placed(span: WordSpan, at: int, window: Window, sentence: str) -> Span:
    start, end = int(window.start[span.first]), int(window.end[span.last - 1])
    words = sentence[start - window.sentence_start : end - window.sentence_start]
    return Span(window.document, start, end, words, span.entity_type, span.score, at, span.first, span.last)
