"""The record counts of a source reconcile, and are stored in its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.errors import CountMismatchError, WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.schemas import DELETIONS
from e2emern.warehouse.sources.counts import SourceCounts, SourceSummary, pending, read_source_summary
from tests.warehouse.homes import MESH, VERSIONS, add_source, document, key


def counts(**changes: int) -> SourceCounts:
    balanced = {"parsed": 10, "documents": 6, "annotated": 5, "without_text": 1, "failed": 3, "deleted": 1}
    return SourceCounts(**(balanced | changes))


def test_balanced() -> None:
    counts().check()
    counts(documents=7).check()  # one document could not be annotated, and is among the failed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            counts(parsed=11),
            "x.xml: parsed 11 records, but 5 annotated + 1 without text + 3 failed + 1 deleted = 10; annotate it again",
        ),
        (counts(deleted=2), "x.xml: parsed 10 records, but 5 annotated + 1 without text + 3 failed + 2 deleted = 11"),
        (counts(documents=5), "x.xml: found 5 documents, expected at least 5 annotated + 1 without text"),
        (counts(documents=10), "at most 10 parsed - 1 deleted"),
        (counts(failed=-1, parsed=6), "x.xml: a count is negative"),
        (counts(carried=6), "x.xml: found 6 documents with reused mentions, expected at most 5 annotated"),
    ],
)
def test_unbalanced(wrong: SourceCounts, message: str) -> None:
    with pytest.raises(CountMismatchError) as caught:
        wrong.check(source="x.xml")
    assert message in str(caught.value)


def test_counts_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    summary = SourceSummary(
        key=key("ä/b", "1"), format="bioc-xml", bytes=12, counts=counts(), status="damaged", error="cut at byte 7"
    )
    with TableWriter(path, DELETIONS, metadata=summary.to_metadata()):
        pass
    assert read_source_summary(path) == summary


def test_file_without_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with TableWriter(path, DELETIONS):
        pass
    with pytest.raises(WarehouseError, match="has no record counts of its source"):
        read_source_summary(path)
    with TableWriter(path, DELETIONS, metadata={"e2emern.source": '{"key": 1}'}):
        pass
    with pytest.raises(WarehouseError, match="has malformed record counts"):
        read_source_summary(path)


def test_pending(tmp_path: Path) -> None:
    home = Home(tmp_path)
    done, new, changed = key("a", "1"), key("b", "1"), key("a", "2")
    add_source(home, done, [document(0, "1")])
    assert pending(home, [new, done, changed, new], VERSIONS) == [new, changed]
    assert pending(home, [done], Versions("other", MESH)) == [done]
    assert pending(home, [], VERSIONS) == []
