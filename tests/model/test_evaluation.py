"""Scorers, and three predictors that must not look good under them."""

from __future__ import annotations

import pytest

from model.corpus import GoldDocument, GoldMention
from model.document import Mention
from model.evaluation import Score, bootstrap, score_corpus, total


def mention(start: int, end: int, mesh_id: str | None = "D1", kind: str = "Disease") -> Mention:
    return Mention(start, end, "x" * (end - start), kind, 0, 0.9, mesh_id)


def document(*mentions: GoldMention, number: int = 0, types: tuple[str, ...] = ("Disease",)) -> GoldDocument:
    return GoldDocument("c", "dev", str(number), types, "x" * 100, (), (), mentions)


def figures(gold: list[GoldDocument], predicted: list[list[Mention]]) -> dict[str, tuple[int, int, int]]:
    scores = score_corpus(gold, predicted, canonical=lambda identifier: identifier.removeprefix("MESH:"))
    summed = {name: total(by_type["Disease"]) for name, by_type in scores.items()}
    return {name: (score.tp, score.fp, score.fn) for name, score in summed.items()}


GOLD = GoldMention(10, 20, "Disease", ("MESH:D1",))


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([mention(10, 20)], {"ner": (1, 0, 0), "mention": (1, 0, 0), "document": (1, 0, 0)}),
        ([mention(10, 20, "D2")], {"ner": (1, 0, 0), "mention": (0, 1, 1), "document": (0, 1, 1)}),
        ([mention(10, 21)], {"ner": (0, 1, 1), "mention": (0, 1, 1), "document": (1, 0, 0)}),
        ([mention(10, 20, None)], {"ner": (1, 0, 0), "mention": (0, 0, 1), "document": (0, 0, 1)}),
        ([mention(10, 20, kind="Chemical")], {"ner": (0, 0, 1), "mention": (0, 0, 1), "document": (0, 0, 1)}),
        ([], {"ner": (0, 0, 1), "mention": (0, 0, 1), "document": (0, 0, 1)}),
    ],
)
def test_one_mention(predicted: list[Mention], expected: dict[str, tuple[int, int, int]]) -> None:
    assert figures([document(GOLD)], [predicted]) == expected


def test_gold_without_a_concept_counts_in_ner_only() -> None:
    gold = document(GoldMention(10, 20, "Disease", ()))
    assert figures([gold], [[]]) == {"ner": (0, 0, 1), "mention": (0, 0, 0), "document": (0, 0, 0)}


def test_a_composite_is_one_mention_and_several_concepts() -> None:
    gold = document(GoldMention(10, 20, "Disease", ("D1", "D2"), composite=True))
    assert figures([gold], [[mention(10, 20, "D2")]]) == {"ner": (1, 0, 0), "mention": (1, 0, 0), "document": (1, 0, 1)}


def test_types_a_corpus_does_not_annotate_are_not_scored() -> None:
    scores = score_corpus([document(GOLD)], [[mention(30, 40, "C1", kind="Chemical")]], canonical=str)
    assert set(scores["ner"]) == {"Disease"}


CORPUS = [
    document(*(GoldMention(10 * m, 10 * m + 5, "Disease", (f"D{m}",)) for m in range(8)), number=n) for n in range(50)
]
RIGHT = [[mention(10 * m, 10 * m + 5, f"D{m}") for m in range(8)] for _ in range(50)]


def test_saying_yes_to_every_candidate_scores_badly() -> None:
    everything = [[mention(m.start, m.end, f"D{c}") for m in found for c in range(100)] for found in RIGHT]
    scores = score_corpus(CORPUS, everything, canonical=str)
    assert total(scores["document"]["Disease"]).f1 < 0.2
    assert total(scores["mention"]["Disease"]).f1 < 0.1


def test_missing_half_of_gold_scores_badly() -> None:
    half = [found[:4] for found in RIGHT]
    for by_type in score_corpus(CORPUS, half, canonical=str).values():
        assert total(by_type["Disease"]).recall == 0.5
        assert total(by_type["Disease"]).f1 == pytest.approx(2 / 3)


def test_twenty_mentions_in_a_corpus_score_badly() -> None:
    few = [RIGHT[0], RIGHT[1], RIGHT[2][:4], *([] for _ in range(47))]
    for by_type in score_corpus(CORPUS, few, canonical=str).values():
        assert total(by_type["Disease"]).f1 < 0.1


def test_figures_of_nothing_are_zero() -> None:
    assert (Score().precision, Score().recall, Score().f1) == (0.0, 0.0, 0.0)


def test_bootstrap_of_a_clear_difference_excludes_zero_and_of_none_is_zero() -> None:
    good, bad = [Score(9, 1, 1)] * 40, [Score(5, 5, 5)] * 40
    mean, low, high = bootstrap(good, bad)
    assert low == pytest.approx(0.4)
    assert high == pytest.approx(0.4)
    assert bootstrap(good, good) == (0.0, 0.0, 0.0)
    assert mean == pytest.approx(0.4)
