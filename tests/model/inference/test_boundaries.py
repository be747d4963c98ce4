from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2emern.model.document import Concept, Sentence
from e2emern.model.inference.boundaries import settle_boundaries
from e2emern.model.inference.grouping import Span
from e2emern.model.tokenization import Window, make_windows
from e2emern.model.vocabulary import Vocabulary
from tests.model import tiny

NAMES = {
    "Disease": (
        "migraine", "migraine with aura", "aura", "colon cancer", "cancer, colon", "cancer", "renal failure (ARF)",
    ),
    "Chemical": ("aspirin", "5-aminosalicylic acid", "penicillin", "penicillin-G"),
}  # fmt: skip
VOCABULARY = Vocabulary(
    [
        *(
            Concept(f"{kind[0]}{number}", kind, (name,), "descriptor", ())
            for kind, names in NAMES.items()
            for number, name in enumerate(names)
        ),
        Concept("C90", "Chemical", ("aspirin esterase",), "descriptor", ("D08.811.277",)),
    ],
    version="tiny",
)


def spans_of(text: str, *marked: tuple[str, str, float]) -> tuple[Window, list[Span]]:
    """Return one sentence's window and spans: words, type and probability, found from left to right."""
    (window,) = make_windows([[Sentence(0, len(text), text)]], tokenizer=tiny.tokenizer(), max_pieces=256)
    spans, begin = [], 0
    for words, kind, score in marked:
        start = text.index(words, begin)
        begin = start + len(words)
        found = window.words_of(start, begin)
        assert found is not None
        spans.append(Span(0, start, begin, words, kind, score, 0, *found))
    return window, spans


def settle(text: str, window: Window, spans: list[Span]) -> list[Span]:
    found = settle_boundaries(spans, windows=[window], sentences=[[text]], vocabulary=VOCABULARY)
    for span in found:
        assert text[span.start : span.end] == span.text
        assert (window.start[span.first], window.end[span.last - 1]) == (span.start, span.end)
    return found


def settled(text: str, *marked: tuple[str, str, float]) -> list[tuple[str, str, float]]:
    """Return the spans of one sentence, settled: words, type and probability."""
    return [(span.text, span.entity_type, span.score) for span in settle(text, *spans_of(text, *marked))]


def test_parts_of_a_name_become_the_name_with_the_highest_score_of_a_part() -> None:
    found = settled("a Migraine with aura today", ("Migraine", "Disease", 0.7), ("aura", "Disease", 0.9))
    assert found == [("Migraine with aura", "Disease", 0.9)]


def test_the_longest_name_is_taken() -> None:
    assert settled("oral 5-aminosalicylic acid", ("acid", "Chemical", 0.9)) == [
        ("5-aminosalicylic acid", "Chemical", 0.9)
    ]


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("severe migraine today", "migraine", "Disease"),  # no name that is longer
        ("cancer, colon and others", "cancer", "Disease"),  # words of two mentions that happen to be a name
        ("renal failure (ARF) today", "renal failure", "Disease"),  # a name and its abbreviation
        ("an aspirin esterase", "aspirin", "Chemical"),  # an enzyme
        ("a colon cancer", "colon", "Chemical"),  # a name of another type
        ("migraine ( today", "migraine", "Disease"),
    ],
)
def test_spans_without_a_longer_name_are_unchanged(text: str, words: str, kind: str) -> None:
    assert settled(text, (words, kind, 0.9)) == [(words, kind, 0.9)]


def test_a_name_that_holds_a_span_of_another_type_is_left() -> None:
    spans = (("migraine", "Disease", 0.9), ("aura", "Chemical", 0.9))
    assert settled("migraine with aura", *spans) == [*spans]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("aspirin-", "aspirin"),
        ("-aspirin;", "aspirin"),
        ("-", "-"),
        ("aspirin of the", "aspirin"),
        ("and aspirin", "aspirin"),
        ("vitamin a", "vitamin a"),
    ],
)
def test_punctuation_and_joining_words_at_the_ends_are_trimmed(words: str, left: str) -> None:
    assert settled(f"the {words} group", (words, "Chemical", 0.9)) == [(left, "Chemical", 0.9)]


@pytest.mark.parametrize(
    ("text", "words", "whole"),
    [
        ("Given Di(n-butyl) phthalate (DBP)", "n-butyl) phthalate", "Di(n-butyl) phthalate"),
        ("2-(3-(x)y) acid", "y) acid", "2-(3-(x)y) acid"),
        ("Tumour marker (CEA) levels", "CEA) levels", "CEA) levels"),  # the bracket opens no word
        ("an-(y) acid", "y) acid", "an-(y) acid"),
        ("evaluate b) cancer", "b) cancer", "b) cancer"),
        ("n(x) ", "x", "x"),
        ("the novel (COVID-19) outbreak", "COVID-19)", "COVID-19"),  # opened before the span, which is whole without it
        ("the novel [COVID-19 -]) outbreak", "COVID-19 -])", "COVID-19"),
    ],
)
def test_a_bracket_within_a_word_belongs_to_the_mention_whole(text: str, words: str, whole: str) -> None:
    assert settled(text, (words, "Chemical", 0.9)) == [(whole, "Chemical", 0.9)]


WORDS = st.sampled_from("migraine with aura colon cancer , ( ) - aspirin penicillin G esterase severe".split())


@given(st.lists(WORDS, min_size=1, max_size=12), st.data())
def test_spans_never_overlap_and_settling_again_changes_nothing(words: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)), max_size=6)))
    kinds = st.sampled_from(["Disease", "Chemical"])
    marked = [
        (" ".join(words[first:last]), data.draw(kinds), 0.5) for first, last in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    text = " ".join(words)
    window, spans = spans_of(text, *marked)
    once = settle(text, window, spans)
    assert all(before.last <= after.first for before, after in pairwise(once))
    assert settle(text, window, once) == once
