"""Which sentences an epoch reads, and which labels are masked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from e2emern.model.training.recipe import CORRECTED, Recipe
from e2emern.model.training.samples import Sample, Sampler, make_samples
from tests.model import tiny

TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]


def samples() -> list[Sample]:
    return make_samples(tiny.gold(), tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary())


def test_an_epoch_reads_a_share_of_the_auxiliary_sentences_and_the_next_one_continues() -> None:
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
