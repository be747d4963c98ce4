"""Batches have about the same number of records, whatever their number of files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from e2emern.flows.batches import cut, estimate_records
from e2emern.model.inference.timings import Report
from e2emern.tasks.documents import parse_source
from e2emern.tasks.sources import Source, find_sources
from e2emern.warehouse.layout import Home, SourceKey
from tests.flows.world import dump, pubmed


def source(number: int, size: int = 0, name: str = "{}.xml.gz") -> Source:
    return Source(Path(name.format(number)), SourceKey(f"{number}.xml", f"{number:016x}"), size)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 60))
def test_every_source_is_in_one_batch_in_order_and_none_is_larger_unless_a_source_is(
    counts: list[int], records: int
) -> None:
    sources = [source(number) for number in range(len(counts))]
    of = {one.key: count for one, count in zip(sources, counts, strict=True)}
    batches = cut(sources, records=records, count=lambda one: of[one.key])
    assert [one for batch in batches for one in batch] == sources
    for batch in batches:
        assert len(batch) == 1 or sum(of[one.key] for one in batch) <= records
    for one, following in pairwise(batches):
        assert sum(of[each.key] for each in (*one, following[0])) > records


def test_a_night_is_spread_over_workers() -> None:
    """Cause: batches of 8 files put a normal night on one worker."""
    night = [source(number, 30_000_000) for number in range(3)] + [source(9, 400_000), source(10, 500_000)]
    batches = cut(night, records=10_000, count=lambda one: estimate_records(one, Home(Path("/none"))))
    assert [[one.key.name for one in batch] for batch in batches] == [
        ["0.xml"], ["1.xml"], ["2.xml"], ["9.xml", "10.xml"]
    ]  # fmt: skip


def test_records_are_estimated_from_the_size_until_they_are_counted(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert estimate_records(source(1, 2_000_000), home) == 2_000
    assert estimate_records(source(1, 2_000_000, "{}.xml"), home) == 400
    assert estimate_records(source(1, 10), home) == 1
    (tmp_path / "a.xml.gz").write_bytes(dump(1, documents=33))
    (tmp_path / "b.xml").write_text(pubmed([(1, "Aspirin", "")], deleted=[2], bad=3))
    found = find_sources([tmp_path / "a.xml.gz", tmp_path / "b.xml"])
    for one in found:
        parse_source(one, home=home, report=Report())
    assert [estimate_records(one, home) for one in found] == [33, 5]
