"""The gate: which figures are refused, and how the refusal reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.warehouse.errors import PublishRefusedError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.login import login
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.publish_gate import Figures, Limits, exceeded
from e2emern.warehouse.snapshots.reader import open_snapshot, read_snapshot
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key, mention

OTHER = Versions("m-2", "2024")
BEFORE = Figures(
    versions=Versions("m-1", "2024"),
    documents=10_000,
    mentions=100_000,
    linked=90_000,
    branches={"C04": 0.5, "D02": 0.5},
)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"documents": 9_900, "mentions": 99_000, "linked": 89_000}, []),
        ({"documents": 1_000_000, "mentions": 10_000_000, "linked": 9_000_000}, []),
        ({"documents": 9_899}, ["documents: was 10,000, is 9,899, limit 1% lost"]),
        (
            {"mentions": 96_900, "linked": 87_000},
            ["mentions: was 100,000, is 96,900, limit 3% lost"],
        ),
        (
            {"mentions": 111_000, "linked": 100_000},
            ["mentions per document: was 10.00, is 11.10, limit 10% either way"],
        ),
        ({"linked": 80_000}, ["unlinked share of mentions: was 10.0%, is 20.0%, limit 3 points either way"]),
        (
            {"branches": {"C04": 0.38, "D02": 0.52, "C10": 0.1}},
            [
                "concept mix: branch C04 was 50.0%, is 38.0% of linked mentions; distance of all branches 0.12, limit "
                "0.05"
            ],
        ),
        (
            {
                "versions": OTHER,
                "linked": 82_000,
                "mentions": 95_000,
                "branches": {"C04": 0.4, "D02": 0.6},
            },
            [],
        ),
        (
            {"versions": OTHER, "documents": 9_000},
            ["documents: was 10,000, is 9,000, limit 1% lost (wider limits: m-1@2024 -> m-2@2024)"],
        ),
    ],
)
def test_limits(change: dict[str, object], found: list[str]) -> None:
    assert exceeded(BEFORE, replace(BEFORE, **change), limits=Limits()) == found  # type: ignore[arg-type]


def test_small_snapshots_are_not_compared() -> None:
    few = replace(BEFORE, documents=4_999)
    assert exceeded(few, replace(few, documents=1, mentions=0, linked=0, branches={}), limits=Limits()) == []


def test_a_snapshot_beyond_the_limits_is_refused_until_accepted(tmp_path: Path) -> None:
    home, limits = Home(tmp_path), Limits(least_documents=4)
    add_vocabulary(home)
    first, second = key("a.txt", "1"), key("b.txt", "2")
    four = [document(record, str(record)) for record in range(4)]
    ids = ["D001943", "D001943", "D001241", "D001241"]
    add_source(home, first, four, mentions=[mention(place, str(place), one) for place, one in enumerate(ids)])
    add_run(home, first)
    publish(home, VERSIONS, limits=limits)
    add_source(
        home,
        second,
        [document(record, str(4 + record)) for record in range(4)],
        mentions=[mention(record, str(4 + record), "C562840") for record in range(4)],
    )
    add_run(home, second)
    # Breast Neoplasms and the concepts mapped to it are in two branches; half of each counts in both
    moved = "concept mix: branch D02 was 50.0%, is 25.0% of linked mentions; distance of all branches 0.25, limit 0.05"
    with pytest.raises(PublishRefusedError, match="concept mix") as caught:
        publish(home, VERSIONS, limits=limits)
    assert str(caught.value) == (
        f"{moved}; nothing was published: correct it, or publish it anyway with --accept WHY "
        "(e2emern snapshots publish)"
    )
    assert read_snapshot(home).number == 1
    accepted = publish(home, VERSIONS, limits=limits, accept="a journal on one gene")
    assert (accepted.number, accepted.previous) == (2, 1)
    assert accepted.accepted == f"{login()}: a journal on one gene"
    assert accepted.exceeded == moved
    assert read_snapshot(home) == accepted
    with open_snapshot(home) as connection:
        assert connection.execute("SELECT mesh_id, mentions FROM concepts").fetchall() == [
            ("C562840", 4),
            ("D001241", 2),
            ("D001943", 2),
        ]
