from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.spans import WordSpan, decode_tags, find_word_spans, spans_of

TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]


def is_legal(path: tuple[int, ...]) -> bool:
    names = ["O", *(TAGS[tag] for tag in path)]
    return all(not now.startswith("I-") or before[2:] == now[2:] for before, now in itertools.pairwise(names))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_decoding_finds_the_best_legal_sequence(seed: int, words: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.log(random.dirichlet(np.ones(5), size=(1, 5)))
    legal = [path for path in itertools.product(range(5), repeat=words) if is_legal(path)]
    best = max(legal, key=lambda path: sum(scores[0, word, tag] for word, tag in enumerate(path)))
    chosen = decode_tags(scores, np.array([words]), tags=TAGS)
    assert tuple(chosen[0, :words]) == best
    assert not chosen[0, words:].any()


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ([0, 0, 0], []),
        ([1, 2, 0], [(0, 2, "Disease")]),
        ([1, 1, 2], [(0, 1, "Disease"), (1, 3, "Disease")]),
        ([3, 4, 1], [(0, 2, "Chemical"), (2, 3, "Disease")]),
        ([0, 0, 3], [(2, 3, "Chemical")]),
    ],
)
def test_spans_are_runs_of_tags(tags: list[int], spans: list[tuple[int, int, str]]) -> None:
    found = spans_of(np.array(tags), np.full((3, 5), 0.2), tags=TAGS)
    assert [(span.first, span.last, span.entity_type) for span in found] == spans


def test_a_span_is_as_probable_as_its_tags_and_its_end() -> None:
    probabilities = np.array([[0.1, 0.9, 0, 0, 0], [0.2, 0, 0.8, 0, 0], [0.7, 0, 0.3, 0, 0]])
    assert spans_of(np.array([1, 2, 0]), probabilities, tags=TAGS) == [
        WordSpan(0, 2, "Disease", pytest.approx(0.9 * 0.8 * 0.7))
    ]


def test_a_second_look_adds_doubtful_spans_that_touch_no_sure_one() -> None:
    probabilities = np.array(
        [[0.1, 0.9, 0, 0, 0], [0.55, 0, 0.45, 0, 0], [0.6, 0, 0, 0.4, 0], [0.95, 0.05, 0, 0, 0], [1, 0, 0, 0, 0]]
    )
    with np.errstate(divide="ignore"):
        logged = np.log(np.stack([probabilities, np.eye(1, 5).repeat(5, 0)]))
    words = np.array([5, 3])
    sure = WordSpan(0, 1, "Disease", pytest.approx(0.9 * 0.55))
    assert find_word_spans(logged, words, tags=TAGS) == [[sure], []]
    # Held back by two in log-odds, O loses the third word; what would make the first span longer touches it.
    doubtful = WordSpan(2, 3, "Chemical", pytest.approx(0.4))
    assert find_word_spans(logged, words, tags=TAGS, second_look=2.0) == [[sure, doubtful], []]
