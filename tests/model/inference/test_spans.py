"""Listed names next to the spans that the low level tags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e2emern.model.document import Concept
from e2emern.model.inference.candidates import Candidates
from e2emern.model.inference.features import FEATURES
from e2emern.model.inference.grouping import Group, Span, with_names
from e2emern.model.inference.linked import Choices, Linked
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.inference.lookup import LookedUp
from e2emern.model.inference.spans import with_listed
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import Vocabulary

TEXT = "the COVID-19 outbreak"
TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]
VOCABULARY = Vocabulary([Concept("D000086382", "Disease", ("COVID-19",))], version="1")
LISTED = ListedNames(VOCABULARY)


def tagged(words: str, kind: str, score: float) -> Span:
    """Return a span of the window, whose words are: the, COVID, -, 19, outbreak."""
    begin = TEXT.index(words)
    first, last = WINDOW.words_of(begin, begin + len(words)) or (0, 0)
    return Span(0, begin, begin + len(words), words, kind, score, 0, first, last)


WINDOW = Window(
    document=0,
    sentence=0,
    sentence_start=0,
    ids=np.zeros(7, np.int32),
    first=np.arange(1, 6, dtype=np.int32),
    start=np.array([0, 4, 9, 10, 13], np.int32),
    end=np.array([3, 9, 10, 12, 21], np.int32),
)
NAME = ("COVID-19", "Disease", True)


def found_beside(*others: tuple[str, str, float]) -> list[Span]:
    """Return tagged spans and listed names; the tags give the name a probability of 0.064."""
    probabilities = np.full((5, 5), 0.05)
    probabilities[:, :3] = (0.4, 0.4, 0.4)
    probabilities[4, 2] = 0.0
    return with_listed(
        [tagged(*other) for other in others],
        listed=LISTED,
        probabilities=[probabilities],
        windows=[WINDOW],
        sentences=[[TEXT]],
        tags=TAGS,
    )


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], [(*NAME, 0.064)]),
        ([("outbreak", "Disease", 0.9)], [("outbreak", "Disease", False, 0.9), (*NAME, 0.064)]),
        ([("COVID", "Chemical", 0.8)], [(*NAME, 0.064)]),
        ([("COVID", "Chemical", 0.95)], [("COVID", "Chemical", False, 0.95)]),
        ([("COVID", "Disease", 0.95)], [(*NAME, 0.95)]),
        ([("COVID-19", "Disease", 0.6)], [("COVID-19", "Disease", False, 0.6)]),
        ([("COVID-19", "Chemical", 0.6)], [(*NAME, 0.064)]),
        ([("COVID-19 outbreak", "Disease", 0.3)], [("COVID-19 outbreak", "Disease", False, 0.3)]),
        ([("COVID-19 outbreak", "Disease", 0.04)], [(*NAME, 0.064)]),
    ],
)
def test_a_listed_name_replaces_uncertain_spans_within_it(
    others: list[tuple[str, str, float]], expected: list[tuple[str, str, bool, float]]
) -> None:
    found = found_beside(*others)
    assert [(each.text, each.entity_type, each.listed, pytest.approx(each.score)) for each in found] == expected


def test_a_listed_name_within_a_longer_span_is_a_mention_only_if_the_span_is_none() -> None:
    whole, name = with_names(found_beside(("COVID-19 outbreak", "Disease", 0.3)))
    assert (whole.text, name.text, name.score) == ("COVID-19 outbreak", "COVID-19", pytest.approx(0.064))
    assert (whole.around, name.around) == (None, (whole.start, whole.end))
    groups = [Group(LookedUp(span.text, "Disease"), [at]) for at, span in enumerate((whole, name))]
    nothing = np.zeros(0, np.float32)
    candidates = Candidates(np.zeros(3, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), nothing, nothing)
    linked = Linked([whole, name], groups, candidates, np.zeros((0, len(FEATURES)), np.float32))
    for kept, texts in (
        ((True, True), ["COVID-19 outbreak"]), ((False, True), ["COVID-19"]), ((True, False), ["COVID-19 outbreak"]),
    ):  # fmt: skip
        choices = Choices(np.array(kept), np.full(2, -1), np.zeros(2), [])
        (mentions,) = choices.mentions(linked, [WINDOW], vocabulary=VOCABULARY, documents=1)
        assert [mention.text for mention in mentions] == texts


def test_a_listed_name_of_another_type_or_as_long_as_its_span_is_not_within_it() -> None:
    other = found_beside(("COVID-19 outbreak", "Chemical", 0.3))
    assert [span.text for span in with_names(other)] == ["COVID-19 outbreak"]
    (span,) = found_beside(("COVID-19 outbreak", "Disease", 0.3))
    trimmed = replace(span, end=span.names[0].end, text="COVID-19", last=span.names[0].last)
    assert with_names([trimmed]) == [trimmed]
