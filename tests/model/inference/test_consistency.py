from __future__ import annotations

from dataclasses import replace

import pytest

from e2emern.model.document import Sentence
from e2emern.model.inference.consistency import agree
from e2emern.model.inference.grouping import Span
from e2emern.model.tokenization import Window, make_windows
from tests.model import tiny


def world(*texts: str) -> tuple[list[Window], list[str]]:
    """Return windows and sentences of one document, its sentences a space apart."""
    sentences, at = [], 0
    for text in texts:
        sentences.append(Sentence(at, at + len(text), text))
        at += len(text) + 1
    return make_windows([sentences], tokenizer=tiny.tokenizer(), max_pieces=64), list(texts)


def span(windows: list[Window], texts: list[str], sentence: int, words: str, score: float = 0.9) -> Span:
    window = windows[sentence]
    start = window.sentence_start + texts[sentence].index(words)
    found = window.words_of(start, start + len(words))
    assert found is not None
    return Span(0, start, start + len(words), words, "Disease", score, sentence, *found)


def agreed(
    windows: list[Window], texts: list[str], spans: list[Span], *, threshold: float = 0.5, **abbreviations: str
) -> list[tuple[int, str]]:
    found = agree(spans, windows=windows, sentences=[texts], abbreviations=[abbreviations], threshold=threshold)
    return [(one.start, one.text) for one in found]


def test_a_low_confidence_span_is_dropped() -> None:
    windows, texts = world("severe rash", "colon cancer")
    spans = [span(windows, texts, 0, "rash", 0.3), span(windows, texts, 1, "colon cancer", 0.8)]
    assert agreed(windows, texts, spans) == [(12, "colon cancer")]


def test_a_low_confidence_span_is_kept_if_its_words_are_confident_elsewhere() -> None:
    windows, texts = world("severe rash", "the Rash")
    spans = [span(windows, texts, 0, "rash", 0.3), span(windows, texts, 1, "Rash", 0.8)]
    assert agreed(windows, texts, spans) == [(7, "rash"), (16, "Rash")]


def test_an_abbreviation_is_added_wherever_it_is_a_word() -> None:
    windows, texts = world("renal failure (RF) was severe", "no RF in RFX patients")
    spans = [span(windows, texts, 0, "renal failure")]
    assert agreed(windows, texts, spans, RF="renal failure") == [(0, "renal failure"), (15, "RF"), (33, "RF")]


def test_an_abbreviation_within_another_span_is_not_added() -> None:
    windows, texts = world("renal failure (RF)", "acute RF")
    spans = [span(windows, texts, 0, "renal failure"), span(windows, texts, 1, "acute RF")]
    assert agreed(windows, texts, spans, RF="renal failure") == [(0, "renal failure"), (15, "RF"), (19, "acute RF")]


def test_an_abbreviation_of_plain_words_is_dropped() -> None:
    windows, texts = world("the acute patients (AP)", "AP had fever")
    spans = [span(windows, texts, 1, "AP"), span(windows, texts, 1, "fever")]
    assert agreed(windows, texts, spans, AP="acute patients") == [(31, "fever")]


@pytest.mark.parametrize("long", ["(", "a+b", "[x"])
def test_long_forms_are_not_used_as_patterns(long: str) -> None:
    windows, texts = world("severe rash")
    assert agreed(windows, texts, [span(windows, texts, 0, "rash")], R=long) == [(7, "rash")]


def test_no_spans_no_abbreviations() -> None:
    windows, texts = world("no patients")
    assert agreed(windows, texts, []) == []


def typed(
    windows: list[Window], texts: list[str], spans: list[Span], **abbreviations: str
) -> list[tuple[int, str, str]]:
    found = agree(spans, windows=windows, sentences=[texts], abbreviations=[abbreviations], threshold=0.05)
    return [(one.start, one.text, one.entity_type) for one in found]


def test_the_same_words_get_their_most_probable_type() -> None:
    windows, texts = world("severe rash", "the Rash", "no rash")
    spans = [span(windows, texts, 0, "rash", 0.6), span(windows, texts, 1, "Rash", 0.5)]
    spans.append(replace(span(windows, texts, 2, "rash", 0.9), entity_type="Chemical"))
    assert typed(windows, texts, spans) == [(7, "rash", "Disease"), (16, "Rash", "Disease"), (24, "rash", "Disease")]


def test_an_abbreviation_has_the_type_of_the_end_of_its_long_form() -> None:
    windows, texts = world("aspirin - induced renal failure (ARF)", "chronic ARF")
    spans = [
        replace(span(windows, texts, 0, "aspirin"), entity_type="Chemical"),
        span(windows, texts, 0, "renal failure", 0.7),
        replace(span(windows, texts, 1, "ARF", 0.99), entity_type="Chemical"),
    ]
    long = "aspirin - induced renal failure"
    assert typed(windows, texts, spans, ARF=long) == [
        (0, "aspirin", "Chemical"),
        (18, "renal failure", "Disease"),
        (46, "ARF", "Disease"),
    ]


def test_a_low_confidence_end_of_a_long_form_does_not_decide_the_type() -> None:
    windows, texts = world("treated colon (TC)", "TC")
    spans = [
        span(windows, texts, 0, "colon", 0.3),
        replace(span(windows, texts, 1, "TC", 0.9), entity_type="Chemical"),
    ]
    assert (19, "TC", "Chemical") in typed(windows, texts, spans, TC="treated colon")
