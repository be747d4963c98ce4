"""The floor of look-up and the ceiling of the vocabulary, on the tiny corpus."""

from __future__ import annotations

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Sentence
from e2emern.model.evaluation.baselines import LookUp, exact_match, find_bounds, oracle, unmapped_omim
from e2emern.model.evaluation.scores import Cell, summed
from tests.model import tiny


def document(text: str, *mentions: GoldMention) -> GoldDocument:
    return GoldDocument("c", "dev", "0", ("Disease", "Chemical"), text, (Sentence(0, len(text), text),), (), mentions)


def test_look_up_takes_the_longest_known_string_and_its_most_frequent_concept() -> None:
    seen = [
        document("colon cancer", GoldMention(0, 12, "Disease", ("D002",))),
        document("Cancer", GoldMention(0, 6, "Disease", ("D1",))),
        document("cancer", GoldMention(0, 6, "Disease", ("D9",))),
        document("cancer", GoldMention(0, 6, "Disease", ("D9",))),
        document("rash", GoldMention(0, 4, "Disease", ())),
    ]  # fmt: skip
    memory = LookUp(seen, tiny.vocabulary())
    assert memory.concept_of("CANCER", "Disease") == "D9"
    assert memory.concept_of("cancer", "Chemical") is None
    found = memory.annotate(document("No Colon-cancer; a cancer with rash"))
    assert [(m.start, m.end, m.text, m.mesh_id) for m in found] == [
        (3, 15, "Colon-cancer", "D002"),
        (19, 25, "cancer", "D9"),
        (31, 35, "rash", None),
    ]


def test_the_oracle_is_gold_without_concepts_that_the_vocabulary_lacks() -> None:
    gold = document("fever and ill", GoldMention(0, 5, "Disease", ("OMIM:114480", "D404")),
                    GoldMention(10, 13, "Disease", ("D404",)))  # fmt: skip
    assert [(m.text, m.mesh_id) for m in oracle(gold, tiny.vocabulary())] == [("fever", "D001"), ("ill", None)]


def test_exact_match_prefers_the_concept_whose_name_it_is() -> None:
    assert exact_match("breast CANCER", "Disease", tiny.vocabulary()) == "D001"
    assert exact_match("cancer, breast", "Disease", tiny.vocabulary()) is None
    assert exact_match("aspirin", "Disease", tiny.vocabulary()) is None


def test_bounds_of_the_little_world() -> None:
    gold = tiny.gold(split="dev")
    bounds = find_bounds(gold, tiny.vocabulary(), seen=tiny.gold()[:2])
    figures = {
        (cell.protocol, cell.entity_type): (summed(bounds.floor[cell]), summed(bounds.ceiling[cell]))
        for cell in bounds.floor
    }
    assert figures["ner", "Disease"][0].recall == 0.4  # breast cancer and colon cancer of five
    assert figures["document", "Disease"][0].f1 == 4 / 7
    assert figures["link", "Chemical"][0].recall == 0.5
    assert {ceiling.f1 for _, ceiling in figures.values()} == {1.0}
    assert summed(bounds.exact_match[Cell("tiny", "dev", "link", "all", "Disease")]).recall == 1.0
    assert find_bounds(gold, tiny.vocabulary()).floor == {}


def test_omim_ids_that_map_to_no_mesh_record_are_counted() -> None:
    gold = document("x", GoldMention(0, 1, "Disease", ("OMIM:114480", "OMIM:999999", "D001")))
    assert unmapped_omim([gold], tiny.vocabulary()) == (2, 1)
