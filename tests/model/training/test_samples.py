from __future__ import annotations

import numpy as np

from e2emern.model.tagging import tag_names
from e2emern.model.training.samples import Sample, Sampler, make_samples
from tests.model import tiny

TAGS = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]


def samples(types: tuple[str, ...] = ("Disease", "Chemical")) -> list[Sample]:
    return make_samples(tiny.gold(types=types), tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary())


def sampler(found: list[Sample], **options: int) -> Sampler:
    return Sampler(found, vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=TAGS, **options)


def test_a_sentence_becomes_one_sample_with_its_mentions_and_concepts() -> None:
    third = samples()[2]
    concepts = tiny.vocabulary().concepts
    found = [(f, last, kind, [concepts[at].mesh_id for at in at_]) for f, last, kind, at_ in third.mentions]
    assert sorted(found) == [(0, 1, "Chemical", ["D006"]), (2, 4, "Disease", ["D004"]), (5, 6, "Disease", ["D005"])]


def test_only_gold_tags_are_allowed_if_both_types_are_annotated() -> None:
    [batch] = sampler(samples()[2:3], random_negatives=2).epoch(0)
    first = samples()[2].window.first
    allowed = [[TAGS[at] for at in np.flatnonzero(row)] for row in batch.allowed[0, first].numpy()]
    assert allowed == [["B-Chemical"], ["O"], ["B-Disease"], ["I-Disease"], ["O"], ["B-Disease"], ["O"]]


def test_the_scheme_decides_how_mentions_are_written() -> None:
    tags = tag_names(("Disease", "Chemical"), scheme="BIOES")
    [batch] = Sampler(samples()[2:3], vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=tags).epoch(0)
    first = samples()[2].window.first
    allowed = [[tags[at] for at in np.flatnonzero(row)] for row in batch.allowed[0, first].numpy()]
    assert allowed == [["S-Chemical"], ["O"], ["B-Disease"], ["E-Disease"], ["O"], ["S-Disease"], ["O"]]


def test_a_corpus_of_diseases_says_nothing_about_chemicals() -> None:
    [batch] = sampler(samples(("Disease",))[2:3], random_negatives=7).epoch(0)
    first = samples()[2].window.first
    allowed = [[TAGS[at] for at in np.flatnonzero(row)] for row in batch.allowed[0, first].numpy()]
    assert allowed[:3] == [["O", "B-Chemical", "I-Chemical"]] * 2 + [["B-Disease"]]
    assert batch.known.sum() < batch.known.numel()  # chemicals among the entities are asked of nobody


def test_every_entity_a_sentence_mentions_is_in_the_batch_and_asked_of_the_high_level() -> None:
    for batch in sampler(samples()).epoch(1):
        assert batch.span_right.any(1).all()
        for row in range(len(batch.ids)):
            right = set(np.flatnonzero(batch.contained[row].numpy()))
            asked = batch.asked[row, batch.asked_counted[row].sum(-1) > 0].tolist()
            assert right <= set(asked)
            assert len(asked) > len(right)  # and some that it does not mention


def test_high_level_tags_are_those_of_the_entity_alone() -> None:
    [batch] = sampler(samples()[2:3]).epoch(0)
    first = samples()[2].window.first
    for place, entity in enumerate(batch.asked[0].tolist()):
        tags = [TAGS[int(np.flatnonzero(row)[0])] for row in batch.asked_tags[0, place, first].numpy()]
        mentions = [tag for tag in tags if tag != "O"]
        if batch.contained[0, entity]:
            assert mentions in (["B-Chemical"], ["B-Disease", "I-Disease"], ["B-Disease"])
        else:
            assert mentions == []


def test_an_epoch_holds_every_sentence_once_and_epochs_differ() -> None:
    made = sampler(samples(), tokens=24)
    plans = [made.plan(epoch) for epoch in range(4)]
    for plan in plans:
        assert sorted(np.concatenate(plan).tolist()) == [0, 1, 2, 3, 4]
    names = [[batch.name_ids.tolist() for batch in made.epoch(epoch)] for epoch in range(4)]
    assert any(names[0] != other for other in names[1:])
    assert names[0] == [batch.name_ids.tolist() for batch in made.epoch(0)]


def test_an_epoch_can_be_resumed_in_the_middle() -> None:
    made = sampler(samples(), tokens=24)
    whole = [batch.ids.tolist() for batch in made.epoch(0)]
    assert [batch.ids.tolist() for batch in made.epoch(0, skip=2)] == whole[2:]
