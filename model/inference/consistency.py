"""Makes the spans of a document consistent with each other.

The low level reads one sentence at a time. The whole document decides four things:

* Words with a confident span in one place keep a low-confidence span in another.
* An abbreviation means its long form everywhere (Schwartz and Hearst 2003), and so does a short name in brackets after
  another name.
* An abbreviation is not a mention if its long form is not one.
* The same words have one type. It is the type of the long form or of its end ("ribavirin-induced hemolytic anemia" is
  an anemia, and so is RIHA), otherwise the type with the greatest total probability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from e2emern.model.inference.grouping import Span
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import normalised

CONFIDENT = 0.5  # minimum probability of a span that decides the type of its abbreviation

Place = tuple[int, int, int]
"""Start and end in code points of the document, and the window."""


def agree(
    spans: Sequence[Span],
    *,
    windows: Sequence[Window],
    sentences: Sequence[Sequence[str]],
    abbreviations: Sequence[Mapping[str, str]],
    threshold: float,
) -> list[Span]:
    """Return the spans that are kept and those that abbreviations add, ordered by document and start.

    Args:
        sentences: the sentences' texts of each document.
        abbreviations: short form to long form, of each document.
        threshold: minimum probability of a span at the best place of its words in the document.
    """
    found: dict[int, list[Span]] = {}
    for span in spans:
        found.setdefault(span.document, []).append(span)
    of_document: dict[int, list[int]] = {}
    for at, window in enumerate(windows):
        of_document.setdefault(window.document, []).append(at)
    kept = []
    for document, every in sorted(found.items()):
        mine = _confident(every, abbreviations[document], threshold)
        for short, long in abbreviations[document].items():
            places = _occurrences(long, of_document[document], windows, sentences[document])
            if kind := _type_at_end(places, mine):
                mine = [replace(span, entity_type=kind) if span.text == short else span for span in mine]
            long_forms = [span for span in mine if normalised(span.text) == normalised(long)]
            if long_forms:
                most_confident = max(long_forms, key=lambda span: span.score)
                mine += _added(short, most_confident, mine, of_document[document], windows, sentences[document])
            elif places and not any(_touch(span, place) for place in places for span in mine):
                mine = [span for span in mine if span.text != short]
        kept += sorted(_of_one_type(mine, abbreviations[document]), key=lambda span: span.start)
    return kept


def _confident(spans: Sequence[Span], abbreviations: Mapping[str, str], threshold: float) -> list[Span]:
    """Return the spans of a document whose words reach the threshold at their best place, and listed names."""
    best: dict[tuple[str, str], float] = {}
    for span in spans:
        key = span.entity_type, _meant(span, abbreviations)
        best[key] = max(best.get(key, 0.0), span.score)
    return [span for span in spans if span.listed or best[span.entity_type, _meant(span, abbreviations)] >= threshold]


def _of_one_type(spans: Sequence[Span], abbreviations: Mapping[str, str]) -> list[Span]:
    """Return the spans of a document, with one type for the same words: the one with the greatest total probability."""
    weights: dict[str, dict[str, float]] = {}
    for span in spans:
        of_type = weights.setdefault(_meant(span, abbreviations), {})
        of_type[span.entity_type] = of_type.get(span.entity_type, 0.0) + span.score
    of_place: dict[tuple[int, int], Span] = {}
    for span in spans:
        of_type = weights[_meant(span, abbreviations)]
        kind = max(of_type, key=lambda kind: of_type[kind])
        of_place.setdefault((span.start, span.end), replace(span, entity_type=kind))
    return list(of_place.values())


def _meant(span: Span, abbreviations: Mapping[str, str]) -> str:
    words = abbreviations.get(span.text, span.text)
    return normalised(words) or words


def _type_at_end(places: Sequence[Place], spans: Sequence[Span]) -> str | None:
    """Return the type of the most probable span at the end of a long form; None if none is confident."""
    at_end = [
        span
        for start, end, _ in places
        for span in spans
        if span.end == end and span.start >= start and span.score >= CONFIDENT
    ]
    return max(at_end, key=lambda span: span.score).entity_type if at_end else None


def _added(
    short: str,
    long_form: Span,
    mine: list[Span],
    places: list[int],
    windows: Sequence[Window],
    sentences: Sequence[str],
) -> list[Span]:
    """Return a span, with the long form's type and probability, for each occurrence of the short form as a word."""
    added = []
    for place in _occurrences(short, places, windows, sentences):
        start, end, at = place
        words = windows[at].words_of(start, end)
        if words is None or any(_touch(span, place) for span in mine):
            continue
        window = windows[at]
        if window.start[words[0]] == start and window.end[words[1] - 1] == end:
            added.append(Span(window.document, start, end, short, long_form.entity_type, long_form.score, at, *words))
    return added


def _touch(span: Span, place: Place) -> bool:
    start, end, _ = place
    return span.start < end and start < span.end


def _occurrences(words: str, places: list[int], windows: Sequence[Window], sentences: Sequence[str]) -> list[Place]:
    """Return the occurrences of words that are not part of a longer word."""
    pattern = re.compile(rf"(?<![^\W_]){re.escape(words)}(?![^\W_])")
    found = []
    for at in places:
        window = windows[at]
        text, begin = sentences[window.sentence], window.sentence_start
        for match in pattern.finditer(text):
            start, end = begin + match.start(), begin + match.end()
            if window.start[0] <= start and end <= window.end[-1]:
                found.append((start, end, at))
    return found
