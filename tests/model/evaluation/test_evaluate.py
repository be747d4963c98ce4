"""Evaluation of a model that knows five sentences by heart: all protocols, slices, figures and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.model.corpus import GoldDocument, GoldMention, write_corpus
from e2emern.model.document import Sentence
from e2emern.model.evaluation.baselines import find_bounds
from e2emern.model.evaluation.comparison import compare, figure
from e2emern.model.evaluation.evaluate import evaluate, main
from e2emern.model.evaluation.metrics import EVALUATIONS, Evaluation, tidy_rows, wide_rows, write_figures
from e2emern.model.evaluation.paper import ask, count_paper
from e2emern.model.evaluation.report import write_report
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.inference.cascade import Cascade, load_cascade
from tests.flows.world import World
from tests.model import tiny

TEXT = "Severe rash and colon cancer."
HARDER = GoldDocument(
    "tiny", "dev", "9", ("Disease", "Chemical"), TEXT, (Sentence(0, len(TEXT), TEXT),), (),
    (GoldMention(7, 11, "Disease", ("D404",)), GoldMention(16, 28, "Disease", ("D002",))),
)  # fmt: skip


@pytest.fixture(scope="module")
def cascade(world: World) -> Cascade:
    return load_cascade(world.model, mesh=world.mesh, banks=world.model.parent)


def dev() -> list[GoldDocument]:
    return [*tiny.gold(split="dev"), HARDER]


@pytest.fixture(scope="module")
def evaluation(cascade: Cascade) -> Evaluation:
    slicer = Slicer.of(tiny.gold(), canonical=cascade.vocabulary.canonical)
    return evaluate(cascade, dev(), slicer=slicer)


def test_what_was_learned_by_heart_is_perfect(cascade: Cascade) -> None:
    gold = tiny.gold(split="dev")
    steps: list[tuple[str, int, int]] = []
    evaluation = evaluate(cascade, gold, progress=lambda what, done, of: steps.append((what, done, of)))
    rows = {
        (row["protocol"], row["entity_type"]): row
        for row in wide_rows(evaluation, find_bounds(gold, cascade.vocabulary, seen=tiny.gold()))
    }
    assert rows["ner", "Disease"] == {
        "corpus": "tiny/dev", "protocol": "ner", "entity_type": "Disease", "precision": 1.0, "recall": 1.0, "f1": 1.0,
        "floor": 1.0, "ceiling": 1.0, "tp": 5, "fp": 0, "fn": 0,
    }  # fmt: skip
    assert rows["document", "Chemical"]["f1"] == 1.0
    assert rows["link", "Disease"] == {
        "corpus": "tiny/dev", "protocol": "link", "entity_type": "Disease", "accuracy@1": 1.0, "recall@1": 1.0,
        "recall@4": 1.0, "recall@8": 1.0, "recall@16": 1.0, "recall@64": 1.0, "exact_match": 1.0, "floor": 1.0,
        "ceiling": 1.0, "mentions": 5, "accuracy@1 without training strings": 1.0,
    }  # fmt: skip
    assert steps[:2] == [("documents annotated", 5, 5), ("documents linked", 5, 5)]
    assert steps[-1] == ("sentences asked", 4, 4)


def test_what_is_not_known_counts_against_every_protocol_and_its_slice(
    cascade: Cascade, evaluation: Evaluation
) -> None:
    bounds = find_bounds(dev(), cascade.vocabulary, seen=tiny.gold())
    rows = {
        (row["protocol"], row["slice"], row["entity_type"], row["figure"]): row for row in tidy_rows(evaluation, bounds)
    }
    link = rows["link", "all", "Disease", "accuracy@1"]
    assert (link["tp"], link["fp"], link["fn"], link["value"], link["documents"]) == (6, None, 1, 6 / 7, 6)
    assert (link["floor"], link["ceiling"]) == (6 / 7, 6 / 7)
    assert rows["link", "concept unseen", "Disease", "recall@64"]["value"] == 0.0
    assert rows["link", "string seen", "Disease", "accuracy@1"]["value"] == 1.0
    recall = rows["document", "all", "Disease", "recall"]
    assert recall["tp"] + recall["fn"] == 7
    assert recall["ceiling"] == 6 / 7
    assert ("paper", "refined", "Disease", "f1") not in rows


def test_the_paper_protocol_asks_gold_and_wrong_concepts_and_counts_both(cascade: Cascade) -> None:
    questions = ask(cascade, tiny.gold(), wrong=2, seed=0)
    assert len(questions) == 4  # the fifth sentence mentions nothing
    first = questions[0].answers
    assert first[cascade.vocabulary.position["D001"]] == {(4, 6, "Disease")}
    assert all(not words for concept, words in first.items() if concept != cascade.vocabulary.position["D001"])
    counts = count_paper(cascade, tiny.gold())
    found = {cell.entity_type: rows.sum(0).tolist() for cell, rows in counts.items()}
    assert found["Chemical"][0] + found["Chemical"][2] == 2
    assert found["Disease"][0] + found["Disease"][2] == 5


def test_a_model_without_a_high_level_has_no_paper_figures(cascade: Cascade) -> None:
    network = tiny.network(hidden=32, use_high=False)
    other = Cascade(
        network, tokenizer=cascade.tokenizer, vocabulary=cascade.vocabulary, bank=cascade.bank, model_version="low"
    )
    counts = evaluate(other, dev(), protocols=["ner", "paper"]).counts
    assert {cell.protocol for cell in counts} == {"ner"}
    with pytest.raises(ValueError, match="no high level"):
        count_paper(other, dev())


def test_figures_are_in_the_table_and_in_the_report(cascade: Cascade, evaluation: Evaluation, tmp_path: Path) -> None:
    bounds = find_bounds(dev(), cascade.vocabulary, seen=tiny.gold())
    rows = tidy_rows(evaluation, bounds)
    write_figures(rows, tmp_path / "evaluation.parquet")
    table = pq.read_table(tmp_path / "evaluation.parquet")
    assert table.schema.equals(EVALUATIONS)
    assert table.to_pylist() == rows
    worse = Evaluation("worse", "tiny", {cell: rows * [[1, 1, 1]] + [[0, 1, 0]] for cell, rows in
                                         evaluation.counts.items()})  # fmt: skip
    page = write_report([evaluation, worse], bounds, compare(worse.counts, evaluation.counts))
    assert page.startswith(
        f"# Evaluation\n\nModel {cascade.model_version}, worse; MeSH tiny; figures in per cent. Mean"
    )
    assert "## tiny/dev, 6 documents" in page
    assert re.search(r"\| Disease  \| `link` +\|", page)
    assert "85.7 (85.7 to 85.7)" in page
    assert "the gold entities of each sentence were given" in page
    assert "## Against the other model" in page
    chosen = next(cell for cell in evaluation.counts if cell.protocol == "ner" and cell.slice == "all")
    assert figure(evaluation.counts[chosen].sum(0), "ner") > figure(worse.counts[chosen].sum(0), "ner")


def test_the_command_of_the_model_alone(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus([*tiny.gold(), *tiny.gold(split="dev")], tmp_path / "corpus.parquet")
    output = tmp_path / "scores.json"
    arguments = [world.model, "--corpus", tmp_path / "corpus.parquet", "--mesh", world.mesh, "--output", output,
                 "--splits", "tiny/dev", "--seen", "tiny/train"]  # fmt: skip
    assert main([str(each) for each in arguments]) == 0
    scores = json.loads(output.read_text())
    assert scores["mesh_version"] == "tiny"
    assert {row["protocol"] for row in scores["rows"]} == {"ner", "link", "mention", "document", "paper"}
    assert "| Disease  | `ner`" in capsys.readouterr().out


def test_models_are_reported_by_the_protocols_that_all_of_them_have(cascade: Cascade, evaluation: Evaluation) -> None:
    bounds = find_bounds(dev(), cascade.vocabulary, seen=tiny.gold())
    low = Evaluation("low", "tiny", {cell: each for cell, each in evaluation.counts.items() if cell.protocol == "ner"})
    page = write_report([evaluation, low], bounds)
    assert "| `ner`" in page
    assert "`paper`" not in page
