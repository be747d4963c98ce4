"""Concepts that are left out of a training, and their recall."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.model.corpus import GoldDocument, GoldMention, read_corpus, write_corpus
from e2emern.model.document import Concept, Mention, Sentence
from e2emern.model.pretrained import save_model
from e2emern.model.training.distillation import SILVER_SCHEMA
from e2emern.tasks.evaluation.left_out_concepts import is_chosen, main, recall_of
from tests.model import tiny

LEFT_OUT, KEPT = "D000003", "D000001"
CONCEPTS = (
    Concept(LEFT_OUT, "Disease", ("Renal Insufficiency", "renal failure"), "descriptor", ("C12.777",)),
    Concept(KEPT, "Disease", ("Headache",), "descriptor", ("C23.888",)),
)
SENTENCES = ("Renal failure after aspirin.", "Headache was treated.", "Rash and renal failure.", "No rash.")


def _document(split: str) -> GoldDocument:
    text, sentences = " ".join(SENTENCES), []
    for sentence in SENTENCES:
        start = text.index(sentence)
        sentences.append(Sentence(start, start + len(sentence), sentence))
    headache = text.index("Headache")
    mentions = (
        GoldMention(0, len("Renal failure"), "Disease", (LEFT_OUT,)),
        GoldMention(headache, headache + len("Headache"), "Disease", (KEPT,)),
    )
    return GoldDocument("tiny", split, split, ("Disease",), text, tuple(sentences), (), mentions)


def test_no_sentence_to_train_on_has_a_concept_that_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (is_chosen(LEFT_OUT), is_chosen(KEPT)) == (True, False)
    mesh, tokenizer = tiny.save_entities(tmp_path, CONCEPTS), tiny.tokenizer()
    save_model(tiny.network(), tokenizer, tmp_path / "model")
    write_corpus([_document("train"), _document("dev")], tmp_path / "corpus.parquet")
    rows = [{"pieces": tokenizer(text)["input_ids"], "first": [1], "probabilities": [1.0]} for text in SENTENCES]
    pq.write_table(pa.Table.from_pylist(rows, SILVER_SCHEMA.with_metadata({"tags": "O"})), tmp_path / "silver.parquet")

    options = ["--corpus", f"{tmp_path}/corpus.parquet", "--mesh", f"{mesh}", "--model", f"{tmp_path}/model"]
    silver = ["--silver", f"{tmp_path}/silver.parquet", "--output", f"{tmp_path}/left-out"]
    assert main(["prepare", *options, *silver]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "1 concepts with 2 names; 2 of 8 sentences removed",
        "2 of 4 pseudo-labelled sentences removed",
    ]
    assert json.loads((tmp_path / "left-out/concepts.json").read_text()) == [LEFT_OUT]
    train, dev = read_corpus(tmp_path / "left-out/corpus.parquet")
    assert [sentence.text for sentence in train.sentences] == [SENTENCES[1], SENTENCES[3]]
    assert [mention.concepts for mention in train.mentions] == [(KEPT,)]
    assert dev == _document("dev")
    left = pq.read_table(tmp_path / "left-out/silver.parquet")
    assert left.column("pieces").to_pylist() == [rows[1]["pieces"], rows[3]["pieces"]]
    assert left.schema.metadata[b"tags"] == b"O"


def test_recall_counts_the_mentions_of_these_concepts_only() -> None:
    found = [
        Mention(0, 13, "Renal failure", "Disease", 0, 0.9, LEFT_OUT),
        Mention(0, 13, "Renal failure", "Disease", 0, 0.9, KEPT),  # one of two concepts of the span
    ]
    assert dict(recall_of([_document("dev")], [found], frozenset({LEFT_OUT}))) == {
        ("tiny", "Disease", "mentions"): 1,
        ("tiny", "Disease", "found"): 1,
        ("tiny", "Disease", "linked"): 1,
    }
    assert recall_of([_document("dev")], [[]], frozenset({LEFT_OUT}))["tiny", "Disease", "found"] == 0
