"""Documents worth correcting: those with uncertain, frequent and new words, each word once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.queries.worth_correcting import Worth, worth_correcting
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.runs import SourceOutcome, begin_run, finish_run, write_run
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key, mention


def night(home: Home, date: str, source: SourceKey, words: dict[str, tuple[str, float]]) -> None:
    """A night with a source: the words of the only mention of each document, and the probability of its link."""
    documents = [document(record, document_id) for record, document_id in enumerate(words)]
    mentions: list[dict[str, Any]] = [
        mention(record, document_id) | {"text": text, "end": len(text), "ner_score": 1.0, "link_score": score}
        for record, (document_id, (text, score)) in enumerate(words.items())
    ]
    add_source(home, source, documents, mentions=mentions)
    met = (SourceOutcome(name=source.name, digest=source.digest, outcome="annotated"),)
    begun = replace(begin_run(), run_id=date.replace("-", ""), started=f"{date}T02:30:00+00:00", sources=met)
    write_run(home, finish_run(begun))


def test_words_that_are_uncertain_frequent_and_new_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2emern.warehouse.queries.worth_correcting.NEWEST", 5)
    home = Home(tmp_path)
    add_vocabulary(home)
    night(home, "2026-01-01", key("old.xml", "1"), dict.fromkeys(("1", "2", "3"), ("Cancer", 0.99)))
    new = dict.fromkeys(("4", "5", "6"), ("NASH", 0.25)) | {"7": ("XX", 0.25), "8": ("cancer", 0.99)}
    night(home, "2026-01-02", key("new.xml", "2"), new)
    publish(home, VERSIONS)
    assert worth_correcting(home, most=9) == [
        Worth("4", "'nash' in 3 documents, certain to 25%, 2.7 times as frequent as before"),
        Worth("7", "'xx' in 1 document, certain to 25%"),
        Worth("8", "'cancer' in 1 document, certain to 99%"),
    ]
    assert [one.document_id for one in worth_correcting(home, most=2, without={"4"})] == ["5", "7"]
