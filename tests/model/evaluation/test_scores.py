"""Scorers, and three predictors that must not look good under them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Mention
from e2emern.model.evaluation.scores import Cell, Score, count, count_links, summed
from e2emern.model.evaluation.slices import Slicer
from e2emern.tasks.training.gold import read_gold


def mention(start: int, end: int, mesh_id: str | None = "D1", kind: str = "Disease") -> Mention:
    return Mention(start, end, "x" * (end - start), kind, 0, 0.9, mesh_id)


def document(*mentions: GoldMention, number: int = 0, types: tuple[str, ...] = ("Disease",)) -> GoldDocument:
    return GoldDocument("c", "dev", str(number), types, "x" * 100, (), (), mentions)


def scores(gold: list[GoldDocument], predicted: list[list[Mention]]) -> dict[str, Score]:
    """Return the scores of diseases by protocol."""
    counts = count(gold, predicted, canonical=lambda identifier: identifier.removeprefix("MESH:"))
    return {cell.protocol: summed(each) for cell, each in counts.items() if cell.entity_type == "Disease"}


def figures(gold: list[GoldDocument], predicted: list[list[Mention]]) -> dict[str, tuple[int, int, int]]:
    return {name: (score.tp, score.fp, score.fn) for name, score in scores(gold, predicted).items()}


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


def test_a_replaced_id_is_its_successor_in_gold_and_predictions() -> None:
    """Tenofovir was C096918 and is D000068698."""
    canonical = {"C096918": "D000068698"}
    for wanted, given in (("C096918", "D000068698"), ("D000068698", "C096918"), ("C096918", "C096918")):
        gold = [document(GoldMention(10, 20, "Disease", (wanted,)))]
        counts = count(gold, [[mention(10, 20, given)]], canonical=lambda one: canonical.get(one, one))
        counts |= count_links(gold, [[[given]]], canonical=lambda one: canonical.get(one, one), depths={"link": 1})
        assert {cell.protocol: summed(each) for cell, each in counts.items()} == dict.fromkeys(
            ("ner", "mention", "document", "link"), Score(1, 0, 0)
        )


def test_a_composite_is_one_mention_and_several_concepts() -> None:
    gold = document(GoldMention(10, 20, "Disease", ("D1", "D2"), composite=True))
    assert figures([gold], [[mention(10, 20, "D2")]]) == {"ner": (1, 0, 0), "mention": (1, 0, 0), "document": (1, 0, 1)}


def test_types_a_corpus_does_not_annotate_are_not_scored() -> None:
    counts = count([document(GOLD)], [[mention(30, 40, "C1", kind="Chemical")]], canonical=str)
    assert {cell.entity_type for cell in counts} == {"Disease"}


CORPUS = [
    document(*(GoldMention(10 * m, 10 * m + 5, "Disease", (f"D{m}",)) for m in range(8)), number=n) for n in range(50)
]
RIGHT = [[mention(10 * m, 10 * m + 5, f"D{m}") for m in range(8)] for _ in range(50)]


def test_saying_yes_to_every_candidate_scores_badly() -> None:
    everything = [[mention(m.start, m.end, f"D{c}") for m in found for c in range(100)] for found in RIGHT]
    assert scores(CORPUS, everything)["document"].f1 < 0.2
    assert scores(CORPUS, everything)["mention"].f1 < 0.1


def test_missing_half_of_gold_scores_badly() -> None:
    half = [found[:4] for found in RIGHT]
    for score in scores(CORPUS, half).values():
        assert (score.recall, score.f1) == (0.5, pytest.approx(2 / 3))


def test_twenty_mentions_in_a_corpus_score_badly() -> None:
    few = [RIGHT[0], RIGHT[1], RIGHT[2][:4], *([] for _ in range(47))]
    assert all(score.f1 < 0.1 for score in scores(CORPUS, few).values())


def test_figures_of_nothing_are_zero() -> None:
    assert (Score().precision, Score().recall, Score().f1) == (0.0, 0.0, 0.0)


def test_counts_are_kept_for_each_document_of_each_split() -> None:
    gold = [
        document(GOLD),
        document(number=1),
        GoldDocument("d", "test", "2", ("Disease",), "x" * 100, (), (), (GOLD,)),
    ]
    counts = count(gold, [[mention(10, 20)], [mention(1, 2)], []], canonical=str, protocols=["ner"])
    assert {cell: rows.tolist() for cell, rows in counts.items()} == {
        Cell("c", "dev", "ner", "all", "Disease"): [[1, 0, 0], [0, 1, 0]],
        Cell("d", "test", "ner", "all", "Disease"): [[0, 0, 1]],
    }


def test_a_link_is_correct_if_one_of_the_best_candidates_is_gold() -> None:
    gold = [
        document(GOLD, GoldMention(30, 40, "Disease", ("D2", "D3"), composite=True), GoldMention(50, 60, "Disease", ()))
    ]
    counts = count_links(
        gold,
        [[["D9", "D1"], ["D3"], ["D1"]]],
        canonical=lambda identifier: identifier.removeprefix("MESH:"),
        depths={"link": 1, "recall@4": 4},
    )
    assert {cell.protocol: rows.tolist() for cell, rows in counts.items()} == {
        "link": [[1, 0, 1]],
        "recall@4": [[2, 0, 0]],
    }


TEXT = "gout and gout in RA; rare ill ill; breast and ovarian cancer"


def placed(words: str, *concepts: str, at: int = 0) -> GoldMention:
    start = TEXT.index(words, at)
    return GoldMention(start, start + len(words), "Disease", concepts, composite=len(concepts) > 1)


def test_slices_of_gold_and_of_predictions() -> None:
    seen = GoldDocument("c", "train", "0", ("Disease",), "Gout RA", (), (), (
        GoldMention(0, 4, "Disease", ("D1",)), GoldMention(5, 7, "Disease", ("D4",)),
    ))  # fmt: skip
    mentions = (
        placed("gout", "D1"), placed("gout", "D1", at=5), placed("RA", "D9"), placed("ill", "D4"),
        placed("ill", "D4", at=28), placed("breast and ovarian cancer", "D1", "D8"), placed("rare"),
    )  # fmt: skip
    gold = GoldDocument("c", "dev", "1", ("Disease",), TEXT, (), (("RA", "rheumatoid arthritis"),), mentions)
    slicer = Slicer.of([seen], canonical=str)
    (labels,) = slicer.of_gold([gold])
    assert [sorted(each - {"all"}) for each in labels] == [
        ["concept seen", "string seen"],
        ["concept seen", "string seen"],
        ["abbreviation", "concept unseen", "string seen"],
        ["concept seen", "refined", "string unseen"],
        ["concept seen", "string unseen"],
        ["composite", "concept unseen", "refined", "string unseen"],
        ["refined", "string unseen"],
    ]
    predicted = [
        Mention(0, 4, "gout", "Disease", 0, 0.9, "D1"),
        Mention(21, 29, "rare ill", "Disease", 0, 0.9, "D4"),
        Mention(35, 60, "breast and ovarian cancer", "Disease", 0, 0.9, "D1"),
        Mention(35, 60, "breast and ovarian cancer", "Disease", 0, 0.9, "D7"),
    ]
    counts = count([gold], [predicted], canonical=str, slicer=slicer)
    found = {(cell.protocol, cell.slice): summed(rows) for cell, rows in counts.items()}
    assert found["ner", "all"] == Score(2, 1, 5)
    assert found["ner", "string seen"] == Score(1, 0, 2)
    assert found["ner", "string unseen"] == Score(1, 1, 3)
    assert found["ner", "refined"] == Score(1, 1, 2)
    assert found["ner", "abbreviation"] == Score(0, 0, 1)
    assert found["mention", "composite"] == Score(1, 1, 0)
    assert found["mention", "concept seen"] == Score(1, 1, 3)
    assert found["document", "all"] == Score(2, 1, 2)  # D1 and D4 of D1, D4, D8, D9; D7 is wrong
    assert found["document", "string unseen"] == Score(1, 1, 1)  # D1 is in seen words too


# The evaluator's result on its own sample: BioCreative V CDR, readme of BC5CDR_Evaluation 0.0.3.
OFFICIAL_MENTIONS = Score(303, 105, 121)
OFFICIAL_IDS = Score(150, 56, 64)
# "neuromuscular blockade" of one document was D009468 in the sample that the task published first, CDR_sample.txt; the
# gold file has D020879. docs/evaluation.md explains why the answer above must be that of the former.
REVISED = ("10457883", 353, 375)
FORMER = ("D009468",)


def read_sample(folder: Path) -> tuple[list[GoldDocument], list[list[Mention]]]:
    gold = list(read_gold(folder / "gold.PubTator", corpus="cdr", split="sample"))
    given = {d.document_id: d for d in read_gold(folder / "predictions.PubTator", corpus="cdr", split="sample")}
    predicted = [
        [
            Mention(m.start, m.end, "", m.entity_type, 0, 1.0, concept.removeprefix("MESH:"))
            for m in given[document.document_id].mentions
            for concept in m.concepts
        ]
        for document in gold
    ]
    return gold, predicted


def as_first_published(document: GoldDocument) -> GoldDocument:
    mentions = (
        replace(m, concepts=FORMER) if (document.document_id, m.start, m.end) == REVISED else m
        for m in document.mentions
    )
    return replace(document, mentions=tuple(mentions))


def disease_scores(gold: list[GoldDocument], predicted: list[list[Mention]]) -> tuple[Score, Score]:
    found = scores(gold, predicted)
    return found["ner"], found["document"]


def test_counts_equal_the_official_answers_of_biocreative(shared_data: Path) -> None:
    gold, predicted = read_sample(shared_data / "scorer-parity")
    assert disease_scores([as_first_published(each) for each in gold], predicted) == (OFFICIAL_MENTIONS, OFFICIAL_IDS)
    assert disease_scores(gold, predicted) == (OFFICIAL_MENTIONS, Score(149, 57, 65))  # as the gold file is now


def test_a_concept_of_a_composite_is_seen_or_unseen_by_itself() -> None:
    seen = document(GoldMention(0, 3, "Disease", ("D1",)))
    gold = document(GoldMention(10, 20, "Disease", ("D1", "D2"), composite=True))
    slicer = Slicer.of([seen], canonical=str)
    counts = count([gold], [[mention(10, 20, "D1")]], canonical=str, slicer=slicer)
    found = {(cell.protocol, cell.slice): summed(each) for cell, each in counts.items()}
    assert found["document", "concept seen"] == Score(1, 0, 0)
    assert found["document", "concept unseen"] == Score(0, 0, 1)
    assert found["mention", "concept unseen"] == Score(1, 0, 0)  # a mention is seen as a whole
