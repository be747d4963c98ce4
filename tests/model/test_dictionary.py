from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.dictionary import Dictionary
from model.document import Concept
from model.vocabulary import Vocabulary, normalise
from tests.model import tiny

CONCEPTS = (
    *tiny.CONCEPTS,
    Concept("D008", "Disease", ("von Hippel-Lindau Disease",), "descriptor"),
    Concept("D009", "Disease", ("Wiskott-Aldrich Syndrome", "WAS"), "descriptor"),
    Concept("D010", "Chemical", ("Lead", "Pb"), "descriptor"),
    Concept("D011", "Chemical", ("di(n-butyl) phthalate",), "supplementary"),
    Concept("D012", "Gene", ("Lithium Gene",), "descriptor"),
)
VOCABULARY = Vocabulary(CONCEPTS, version="tiny")
DICTIONARY = Dictionary(VOCABULARY, entity_types=("Disease", "Chemical"))


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("severe breast cancer , treated", [0, 1, 2, 0, 0]),
        ("Aspirin and acetylsalicylic acid", [3, 0, 3, 4]),
        ("von Hippel - Lindau disease .", [1, 2, 2, 2, 2, 0]),  # a hyphen is a word of the name
        ("- Headache -", [0, 1, 0]),  # but no name begins or ends with one
        ("di ( n - butyl ) phthalate", [3, 4, 4, 4, 4, 4, 4]),
        ("there was a WAS patient", [0, 0, 0, 1, 0]),  # a symbol has its case
        ("to lead , of Lead and Pb", [0, 3, 0, 0, 3, 0, 0]),  # the network is to tell; two letters are no name
        ("Lithium Gene", [0, 0]),  # a type that the network does not know
        ("colon cancer headache", [1, 2, 1]),
        ("", []),
    ],
)
def test_the_longest_names_from_left_to_right(text: str, tags: list[int]) -> None:
    assert DICTIONARY.tags(words(text)).tolist() == tags


_PIECES = [word for concept in CONCEPTS for name in concept.names for word in words(name)] + [",", "-", "(", "the", "é"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=20))
def test_what_is_tagged_is_a_name_of_its_type(given_words: list[str]) -> None:
    tags = DICTIONARY.tags(given_words).tolist()
    assert len(tags) == len(given_words)
    first = 0
    while first < len(tags):
        last = first + 1
        if tags[first]:
            assert tags[first] in (1, 3)
            while last < len(tags) and tags[last] == tags[first] + 1:
                last += 1
            folded = normalise(" ".join(given_words[first:last]))
            assert VOCABULARY.bearers(folded, entity_type="Disease" if tags[first] == 1 else "Chemical")
        first = last


def test_a_network_that_reads_words_alone_is_told_none() -> None:
    assert Dictionary.told(tiny.network(), tiny.vocabulary()) is None
    told = Dictionary.told(tiny.network(use_names=True), tiny.vocabulary())
    assert told is not None
    assert told.tags(["Headache"]).tolist() == [1]
