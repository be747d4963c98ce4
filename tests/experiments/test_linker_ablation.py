"""Sources of candidates and kinds of evidence, on a model whose bank knows its names."""

from __future__ import annotations

import pytest

from e2emern.model.inference.bank import EntityBank
from e2emern.model.inference.cascade import Cascade
from e2emern.model.vocabulary import Vocabulary
from experiments.linker_ablation import DEPTHS, EVIDENCE_SEEN, ablate, print_table, read_cases, recall_of_sources
from tests.model import tiny


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    """Return an untrained network: only names can be right by more than chance."""
    network = tiny.network(hidden=32)
    bank = EntityBank.build(network, tiny.vocabulary(), tokenizer=tiny.tokenizer(), rank=32)
    return Cascade(network, tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary(), bank=bank, model_version="m")


def test_recall_of_each_source(cascade: Cascade) -> None:
    table = recall_of_sources(read_cases(cascade, tiny.gold()))
    assert table.keys() == {"tiny Chemical", "tiny Disease"}
    assert table["tiny Disease"]["exact"] == [1.0] * len(DEPTHS)
    assert table["tiny Disease"]["name"] == [1.0] * len(DEPTHS)  # a name is nearest to itself
    assert table["tiny Chemical"]["union"] == [1.0] * len(DEPTHS)
    assert table["tiny Disease"]["context"] == [0.0] * len(DEPTHS)  # not searched if the words are a name


def test_names_alone_link_spans_that_are_a_name(cascade: Cascade) -> None:
    table = ablate(read_cases(cascade, tiny.gold() * 3), folds=3)
    assert list(table["tiny Disease"]) == list(EVIDENCE_SEEN)
    assert table["tiny Disease"]["names alone"] == [1.0]
    assert table["tiny Disease"]["likeness alone"] == [1.0]


def test_tables_are_printed_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({"tiny Disease": {"union": [0.5, 1.0]}}, columns=["recall@1", "recall@4"])
    assert capsys.readouterr().out == (
        "\n| gold spans | | recall@1 | recall@4 |\n|---|---|---|---|\n| tiny Disease | union | 50.0 | 100.0 |\n"
    )


def test_a_type_that_the_vocabulary_lacks_is_found_by_no_source() -> None:
    diseases = Vocabulary([c for c in tiny.CONCEPTS if c.entity_type == "Disease"], version="tiny")
    network, tokenizer = tiny.network(hidden=32), tiny.tokenizer()
    bank = EntityBank.build(network, diseases, tokenizer=tokenizer, rank=32)
    cascade = Cascade(network, tokenizer=tokenizer, vocabulary=diseases, bank=bank, model_version="m")
    cases = read_cases(cascade, tiny.gold())
    assert recall_of_sources(cases)["tiny Chemical"]["union"] == [0.0] * len(DEPTHS)
    assert ablate(cases, folds=2)["tiny Chemical"]["whole"] == [0.0]
