"""Listed names next to the spans that the low level tags."""

from __future__ import annotations

import numpy as np
import pytest

from e2emern.model.document import Concept
from e2emern.model.inference.grouping import Span
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.inference.spans import with_listed
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import Vocabulary

TEXT = "the COVID-19 outbreak"
TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]
LISTED = ListedNames(Vocabulary([Concept("D000086382", "Disease", ("COVID-19",))], version="1"))


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
def test_a_listed_name_takes_the_place_of_unsure_spans_within_it(
    others: list[tuple[str, str, float]], expected: list[tuple[str, str, bool, float]]
) -> None:
    probabilities = np.full((5, 5), 0.05)
    probabilities[:, :3] = (0.4, 0.4, 0.4)
    probabilities[4, 2] = 0.0
    found = with_listed(
        [tagged(*other) for other in others],
        listed=LISTED,
        probabilities=[probabilities],
        windows=[WINDOW],
        sentences=[[TEXT]],
        tags=TAGS,
    )
    assert [(each.text, each.entity_type, each.listed, pytest.approx(each.score)) for each in found] == expected
