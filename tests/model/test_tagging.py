from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.tagging import TAG_SCHEMES, WordSpan, decode_tags, find_word_spans, spans_of, tag_mention, tag_names

TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]


CLOSED = ["O", *(f"{place}-{kind}" for kind in ("Disease", "Chemical") for place in "BIES")]


def is_legal(path: tuple[int, ...], tags: list[str]) -> bool:
    """Return whether each pair of neighbouring tags is valid in its scheme; outside of the sentence all is O."""
    names = ["O", *(tags[tag] for tag in path), "O"]
    for before, now in itertools.pairwise(names):
        if now[0] in "IE" and not (before[0] in "BI" and before[2:] == now[2:]):
            return False
        if tags == CLOSED and before[0] in "BI" and now[0] not in "IE":
            return False
    return True


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from((TAGS, CLOSED)))
def test_decoding_finds_the_best_legal_sequence(seed: int, words: int, tags: list[str]) -> None:
    random = np.random.default_rng(seed)
    scores = np.log(random.dirichlet(np.ones(len(tags)), size=(1, 5)))
    legal = [path for path in itertools.product(range(len(tags)), repeat=words) if is_legal(path, tags)]
    best = max(legal, key=lambda path: sum(scores[0, word, tag] for word, tag in enumerate(path)))
    chosen = decode_tags(scores, np.array([words]), tags=tags)
    assert tuple(chosen[0, :words]) == best
    assert not chosen[0, words:].any()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from(("Disease", "Chemical")))),
    st.sampled_from(TAG_SCHEMES),
)
def test_mentions_written_as_tags_are_read_back(mentions: list[tuple[int, int, str]], scheme: str) -> None:
    """Mentions, each some words after the previous one: their tags are valid and give the same mentions."""
    tags = tag_names(("Disease", "Chemical"), scheme=scheme)
    path, wanted = list[int](), []
    for gap, words, kind in mentions:
        path += [0] * gap
        wanted.append(WordSpan(len(path), len(path) + words, kind, 1.0))
        path += tag_mention(words, kind, tags=tags)
    sure = np.eye(len(tags))[[*path, 0]]
    with np.errstate(divide="ignore"):
        chosen = decode_tags(np.log(sure)[None], np.array([len(sure)]), tags=tags)[0]
    assert chosen.tolist() == [*path, 0]
    assert spans_of(chosen, sure, tags=tags) == wanted


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


def test_a_span_whose_end_is_marked_is_as_probable_as_its_tags() -> None:
    probabilities = np.full((3, 9), 0.05)
    probabilities[[0, 1], [1, 3]] = 0.9, 0.8
    assert spans_of(np.array([1, 3, 0]), probabilities, tags=CLOSED) == [
        WordSpan(0, 2, "Disease", pytest.approx(0.9 * 0.8))
    ]


def test_the_recall_bias_adds_low_confidence_spans_that_touch_no_other() -> None:
    probabilities = np.array(
        [[0.1, 0.9, 0, 0, 0], [0.55, 0, 0.45, 0, 0], [0.6, 0, 0, 0.4, 0], [0.95, 0.05, 0, 0, 0], [1, 0, 0, 0, 0]]
    )
    with np.errstate(divide="ignore"):
        logged = np.log(np.stack([probabilities, np.eye(1, 5).repeat(5, 0)]))
    words = np.array([5, 3])
    sure = WordSpan(0, 1, "Disease", pytest.approx(0.9 * 0.55))
    assert find_word_spans(logged, words, tags=TAGS) == [[sure], []]
    # With O two log-odds less probable, the third word is found; a longer first span would touch it.
    further = WordSpan(2, 3, "Chemical", pytest.approx(0.4))
    assert find_word_spans(logged, words, tags=TAGS, recall_bias=2.0) == [[sure, further], []]
