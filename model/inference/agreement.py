"""Makes the spans of a document agree with each other.

The low level reads one sentence at a time. What the whole document says settles three things: words that
are surely a mention in one place may be taken in a doubtful one; an abbreviation stands for its long form
everywhere (Schwartz and Hearst 2003); and an abbreviation whose long form is no mention is none either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..pieces import Window
from ..vocabulary import normalise
from .linking import Span


def agree(
    spans: Sequence[Span],
    *,
    windows: Sequence[Window],
    sentences: Sequence[Sequence[str]],
    abbreviations: Sequence[Mapping[str, str]],
    threshold: float,
) -> list[Span]:
    """The spans that stand, ordered by document and start, and those that abbreviations add.

    Args:
        sentences: the sentences' texts of each document.
        abbreviations: short form to long form, of each document.
        threshold: least probability of a span's words, at their best place in the document.
    """
    best: dict[tuple[int, str, str], float] = {}
    for span in spans:
        key = _key(span, abbreviations)
        best[key] = max(best.get(key, 0.0), span.score)
    found: dict[int, list[Span]] = {}
    for span in spans:
        if best[_key(span, abbreviations)] >= threshold:
            found.setdefault(span.document, []).append(span)
    of_document: dict[int, list[int]] = {}
    for at, window in enumerate(windows):
        of_document.setdefault(window.document, []).append(at)
    standing = []
    for document, mine in sorted(found.items()):
        for short, long in abbreviations[document].items():
            long_forms = [span for span in mine if normalise(span.text) == normalise(long)]
            if long_forms:
                surest = max(long_forms, key=lambda span: span.score)
                mine += _added(short, surest, mine, of_document[document], windows, sentences[document])
            elif _is_plain_text(long, mine, of_document[document], windows, sentences[document]):
                mine[:] = [span for span in mine if span.text != short]
        standing += sorted(mine, key=lambda span: span.start)
    return standing


def _key(span: Span, abbreviations: Sequence[Mapping[str, str]]) -> tuple[int, str, str]:
    words = abbreviations[span.document].get(span.text, span.text)
    return span.document, span.entity_type, normalise(words) or words


def _added(
    short: str,
    long_form: Span,
    mine: list[Span],
    places: list[int],
    windows: Sequence[Window],
    sentences: Sequence[str],
) -> list[Span]:
    """A span for each place where the short form stands alone, of the long form's type and probability."""
    added = []
    for start, end, at in _occurrences(short, places, windows, sentences):
        words = windows[at].words_of(start, end)
        taken = any(span.start < end and start < span.end for span in mine)
        if taken or words is None:
            continue
        window = windows[at]
        if window.start[words[0]] == start and window.end[words[1] - 1] == end:
            added.append(Span(window.document, start, end, short, long_form.entity_type, long_form.score, at, *words))
    return added


def _is_plain_text(
    long: str, mine: list[Span], places: list[int], windows: Sequence[Window], sentences: Sequence[str]
) -> bool:
    """Whether the long form stands in the text and no span touches it anywhere."""
    found = _occurrences(long, places, windows, sentences)
    return bool(found) and not any(span.start < end and start < span.end for start, end, _ in found for span in mine)


def _occurrences(
    words: str, places: list[int], windows: Sequence[Window], sentences: Sequence[str]
) -> list[tuple[int, int, int]]:
    """Where words stand on their own: start, end (code points of the document), and the window."""
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
