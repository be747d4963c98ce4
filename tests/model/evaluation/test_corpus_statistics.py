"""Statistics of a gold corpus, on the tiny corpus."""

from __future__ import annotations

from pathlib import Path

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Sentence
from e2emern.model.evaluation.corpus_statistics import Statistics, statistics
from e2emern.tasks.training.gold import find_gold
from tests.model import tiny

TEXT = "Breast-cancer. Ill and sick"
OTHER = GoldDocument(
    "tiny", "dev", "9", ("Disease",), TEXT, (Sentence(0, 14, TEXT[:14]), Sentence(15, 27, TEXT[15:])), (),
    (
        GoldMention(0, 13, "Disease", ("114480",)),
        GoldMention(9, 18, "Disease", ()),  # across the end of a sentence, as annotators may mark it
        GoldMention(15, 27, "Disease", ("D001", "D002"), composite=True),
    ),
)  # fmt: skip


def test_splits_are_counted_alone_and_together() -> None:
    found = statistics([*tiny.gold(), OTHER], canonical=tiny.vocabulary().canonical)
    assert found == [
        Statistics(
            "tiny", "train", documents=5, sentences=5, words=28, mentions=7, distinct_mentions=7, concepts=7,
            id_strings=7, labels=5, without_concept=0, composite=0, cut=0,
        ),
        Statistics(
            "tiny", "dev", documents=1, sentences=2, words=4, mentions=3, distinct_mentions=3, concepts=2,
            id_strings=2, labels=3, without_concept=1, composite=1, cut=1,
        ),
        Statistics(
            "tiny", "all", documents=6, sentences=7, words=32, mentions=10, distinct_mentions=9, concepts=7,
            id_strings=9, labels=5, without_concept=1, composite=1, cut=1,
        ),
    ]  # fmt: skip


def test_the_corpora_of_the_paper(shared_data: Path) -> None:
    """Table 1 gives 923 and 4581 sentences of the dev sets, and 3 and 5 NER labels: see docs/evaluation.md."""
    names = [str(shared_data / "corpora" / f"{corpus}.dev.PubTator") for corpus in ("ncbi-disease", "bc5cdr")]
    ncbi, bc5cdr = statistics(find_gold(names))
    assert (ncbi.documents, ncbi.sentences, ncbi.mentions, ncbi.id_strings, ncbi.labels) == (100, 913, 787, 175, 3)
    assert (bc5cdr.documents, bc5cdr.sentences, bc5cdr.mentions, bc5cdr.labels) == (500, 4541, 9591, 5)
