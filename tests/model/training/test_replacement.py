from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Concept
from e2emern.model.training.recipe import CORRECTED, Recipe
from e2emern.model.training.replacement import Replacements, shape_of
from e2emern.model.training.samples import Sample, Sampler, make_samples
from e2emern.model.vocabulary import Vocabulary
from tests.model import tiny

TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]


def samples() -> list[Sample]:
    return make_samples(tiny.gold(), tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary())


def texts_of(sample: Sample) -> list[str]:
    """Return the words of each mention of a sample, as its window has them."""
    window = sample.window
    return [tiny.tokenizer().decode(window.ids[slice(*window.pieces_of(m.first, m.last))]) for m in sample.mentions]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("AIDS", "abbreviation"),
        ("H2O2", "abbreviation"),
        ("BMS-181339", "abbreviation"),
        ("aspirin", "word"),
        ("Gout", "word"),
        ("1,2-dichloroethane", "word"),
        ("breast cancer", "words"),
    ],
)
def test_a_name_has_a_shape(name: str, shape: str) -> None:
    assert shape_of(name) == shape


def test_only_names_that_text_may_have_are_drawn() -> None:
    tumour = Concept("D1", "Disease", ("Neoplasms, Breast", "DOID:1612", "C66541", "9001"), "descriptor", ("C04",))
    drug = Concept("D2", "Chemical", ("XR-1",), "descriptor", ("D02",))
    both = (Concept("D3", "Disease", ("ABC",)), Concept("D4", "Chemical", ("ABC",), "descriptor", ("D02",)))
    enzyme = Concept("D5", "Chemical", ("KRS",), "descriptor", ("D08.811",))
    protein = Concept("C6", "Chemical", ("GP1 protein, human", "GP1"), "supplementary")
    vocabulary = Vocabulary([tumour, drug, *both, enzyme, protein], version="1")
    replacements, random = Replacements(vocabulary, tiny.tokenizer()), np.random.default_rng(0)
    assert {replacements.draw("CCNU", "Chemical", random) for _ in range(50)} == {
        ("XR-1", vocabulary.position["D2"]),
    }
    assert replacements.draw("HIV", "Disease", random) is None
    assert replacements.draw("breast cancer", "Disease", random) is None


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), at=st.integers(0, 3), longest=st.integers(8, 60))
def test_the_words_between_mentions_stay_and_the_levels_learn_the_new_concepts(
    seed: int, at: int, longest: int
) -> None:
    vocabulary, sample = tiny.vocabulary(), samples()[at]
    window, mentions, masked = Replacements(vocabulary, tiny.tokenizer()).replace(
        sample.window,
        sample.mentions,
        texts=sample.texts,
        masked=[(len(sample.window.first) - 1, len(sample.window.first))],
        longest=max(longest, len(sample.window)),
        random=np.random.default_rng(seed),
    )
    assert len(window) <= max(longest, len(sample.window))
    assert len(window.first) == len(window.start) == len(window.end)
    assert (np.diff(window.first) > 0).all()
    assert window.ids[[0, -1]].tolist() == sample.window.ids[[0, -1]].tolist()
    assert _without_mentions(replace(sample, window=window, mentions=mentions)) == _without_mentions(sample)
    assert masked == ((len(window.first) - 1, len(window.first)),)
    changed = replace(sample, window=window, mentions=mentions)
    for words, mention in zip(texts_of(changed), mentions, strict=True):
        [concept] = mention.concepts
        assert vocabulary.concepts[concept].entity_type == mention.entity_type
        names = {_plain(name) for name in vocabulary.concepts[concept].names}
        assert _plain(words) in names


def _plain(words: str) -> str:
    return words.lower().replace(" ##", "").replace(" ", "")


def _without_mentions(sample: Sample) -> list[int]:
    inside = {piece for m in sample.mentions for piece in range(*sample.window.pieces_of(m.first, m.last))}
    return [int(piece) for at, piece in enumerate(sample.window.ids) if at not in inside]


def test_equal_words_become_equal_names() -> None:
    sample = samples()[0]
    [mention] = sample.mentions
    again = mention._replace(first=0, last=2)
    replacements = Replacements(tiny.vocabulary(), tiny.tokenizer())
    for seed in range(8):
        _, (first, second), _ = replacements.replace(
            sample.window, [mention, again], texts=["Breast cancer", "breast cancer"], longest=60,
            random=np.random.default_rng(seed),
        )  # fmt: skip
        assert first.concepts == second.concepts


def test_a_share_of_the_sentences_has_other_names_in_each_epoch() -> None:
    made = Sampler(
        samples(), vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=TAGS, replaced=0.5, tokens=24
    )
    epochs = [[batch.ids.tolist() for batch in made.epoch(epoch)] for epoch in range(8)]
    plain = {tuple(sample.window.ids.tolist()) for sample in samples()}
    unchanged = [tuple(row) in plain for epoch in epochs for batch in epoch for row in batch]
    assert 0.2 < np.mean(unchanged) < 0.95
    assert [batch.ids.tolist() for batch in made.epoch(3)] == epochs[3]
    assert [batch.ids.tolist() for batch in made.epoch(3, skip=2)] == epochs[3][2:]


def test_an_epoch_has_a_share_of_the_auxiliary_sentences_and_the_next_one_the_next() -> None:
    others = [replace(sample, split="aux/train") for sample in samples() * 4]
    made = Sampler(
        [*samples(), *others], vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=TAGS,
        shares={"aux/train": 0.25},
    )  # fmt: skip
    epochs = [sorted(np.concatenate(made.plan(epoch)).tolist()) for epoch in range(4)]
    assert [epoch[:5] for epoch in epochs] == [[0, 1, 2, 3, 4]] * 4
    assert sorted(at for epoch in epochs for at in epoch[5:]) == list(range(5, 25))


def test_corrected_sentences_are_read_several_times_and_mixed_with_a_share_of_the_gold() -> None:
    gold = [replace(sample, split="gold/train") for sample in samples() * 4]
    corrected = [replace(sample, split=CORRECTED) for sample in samples()[:2]]
    recipe = Recipe(encoder="champion", train=("gold/train", CORRECTED), replay_share=0.5, correction_weight=3.0)
    made = Sampler(
        [*gold, *corrected], vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=TAGS, shares=recipe.shares
    )
    epochs = [np.bincount(np.concatenate(made.plan(epoch)), minlength=22) for epoch in range(2)]
    assert [epoch[20:].tolist() for epoch in epochs] == [[3, 3], [3, 3]]
    assert [int(epoch[:20].sum()) for epoch in epochs] == [10, 10]
    assert (epochs[0] + epochs[1])[:20].tolist() == [1] * 20


def test_a_mention_that_is_not_a_name_is_masked_in_a_split_of_names_only() -> None:
    [third] = [tiny.gold()[2]]
    start = third.text.index("caused")
    strange = replace(third.mentions[0], start=start, end=start + len("caused"), concepts=())
    document = replace(third, corpus="craft", split="train", mentions=(*third.mentions, strange))
    [sample] = make_samples(
        [document], tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary(), names_only=["craft/train"]
    )
    assert (sample.split, sample.masked, len(sample.mentions)) == ("craft/train", ((1, 2),), 3)
    [batch] = Sampler([sample], vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=TAGS).epoch(0)
    allowed = batch.allowed[0, sample.window.first[1]]
    assert allowed.all()
    assert (batch.known[0] == batch.contained[0]).all()  # it may be any other entity


def test_a_mention_without_a_concept_may_be_any_of_its_type() -> None:
    document = tiny.gold()[0]
    unlinked = replace(document, mentions=tuple(replace(mention, concepts=()) for mention in document.mentions))
    found = make_samples([unlinked], tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary())
    [batch] = Sampler(
        found, vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=TAGS, random_negatives=60
    ).epoch(0)
    assert batch.known.sum() == 2  # the chemicals, which the sentence does not name
