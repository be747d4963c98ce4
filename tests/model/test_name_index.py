"""Indexes of names are built for all names at once, and must equal those of each name alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from e2emern.model.document import Concept
from e2emern.model.vocabulary import Vocabulary, bag_of_words, normalise, words_of_all

WORDS = ["Breast", "cancers", "β", "14", "2,4", "virus", "ﬁ", "-", "\n", "Ä"]
NAMES = st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join))


@given(st.lists(NAMES))
def test_all_names_together_are_normalised_like_each_alone(names: list[str]) -> None:
    assert [" ".join(words) for words in words_of_all(names)] == [normalise(name) for name in names]


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_names_and_their_variants_lead_to_their_concepts(names_of_concepts: list[list[str]]) -> None:
    vocabulary = Vocabulary(
        [Concept(f"D{at}", "Disease", tuple(names), "descriptor") for at, names in enumerate(names_of_concepts)],
        version="1",
    )
    exact: dict[str, dict[int, bool]] = {}
    bags: dict[str, dict[int, bool]] = {}
    for at, names in enumerate(names_of_concepts):
        for place, name in enumerate(names):
            folded = normalise(name)
            if not folded.replace(" ", "").isdigit():
                for index, key in ((exact, folded), (bags, bag_of_words(name))):
                    owners = index.setdefault(key, {})
                    owners[at] = owners.get(at, False) or place == 0
    assert {name: vocabulary.exact.of(name) for name in vocabulary.exact.names} == exact
    assert {name: vocabulary.bags.of(name) for name in vocabulary.bags.names} == bags
    assert vocabulary.openings == {" ".join(name.split()[:2]) for name in exact if " " in name}
