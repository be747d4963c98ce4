"""Figures of each night, read from a snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.queries.nights import Night, nights
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.runs import SourceOutcome, begin_run, finish_run, write_run
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key, mention


def run(home: Home, date: str, *sources: SourceKey) -> None:
    met = tuple(SourceOutcome(name=one.name, digest=one.digest, outcome="annotated") for one in sources)
    begun = replace(begin_run(), run_id=date.replace("-", ""), started=f"{date}T02:30:00+00:00", sources=met)
    write_run(home, finish_run(begun))


def test_a_source_belongs_to_the_night_that_processed_it_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(WarehouseError, match="has no snapshot yet"):
        nights(home, last=3)
    add_vocabulary(home)
    first, second = key("pubmed21n0001.xml", "1"), key("pubmed21n0002.xml", "2")
    scored = [
        mention(0, "1", "D001943") | {"link_score": 1.0},
        mention(0, "1", "D001241", start=2) | {"link_score": 0.55},
        mention(1, "2", None),
    ]
    add_source(home, first, [document(0, "1"), document(1, "2")], mentions=scored)
    add_source(home, second, [document(0, "2"), document(1, "3")])
    run(home, "2026-01-01", first)
    run(home, "2026-01-02", first, second)
    run(home, "2026-01-04", first, second)
    publish(home, VERSIONS)
    assert nights(home, last=3) == [
        Night(
            date="2026-01-01", documents=2, shown=1, mentions=2, linked=2,
            branches={"C04": 0.25, "C17": 0.25, "D02": 0.5}, scores=(0, 0, 0, 0, 0, 1, 0, 0, 0, 1),
        ),
        Night(
            date="2026-01-02", documents=2, shown=2, mentions=2, linked=2,
            branches={"C04": 0.5, "C17": 0.5}, scores=(0,) * 10,
        ),
        Night(date="2026-01-04", documents=0, branches={}, scores=(0,) * 10),
    ]  # fmt: skip
    assert [night.date for night in nights(home, last=2)] == ["2026-01-02", "2026-01-04"]
