"""Drift as a function of figures, and news that are reported once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.tasks.evaluation.drift import DriftLimits, News, drift, note_news, read_drift, read_news
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.nights import Night
from e2emern.warehouse.registry.corrections import note_consumed, pending_corrections
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.runs import begin_run, finish_run, write_run
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key

USUAL = Night(
    date="2026-01-01",
    documents=10_000,
    shown=10_000,
    mentions=80_000,
    linked=72_000,
    branches={"C04": 0.5, "D02": 0.5},
    scores=(0, 0, 0, 0, 0, 1, 1, 2, 6, 10),
)
BEFORE = [replace(USUAL, documents=10_000 + 100 * number) for number in range(8)]


def test_a_usual_night_has_not_drifted() -> None:
    found = drift(USUAL, BEFORE)
    assert (found.nights, found.drifted) == (8, [])
    assert [(one.name, one.usual, one.tonight) for one in found.figures] == [
        ("documents", 10_350, 10_000),
        ("mentions per document", 8.0, 8.0),
        ("unlinked share", 0.1, 0.1),
        ("concept mix", None, None),
        ("scores", None, None),
    ]


@pytest.mark.parametrize(
    ("tonight", "drifted"),
    [
        (replace(USUAL, documents=2_000), ["documents"]),
        (replace(USUAL, documents=3_000), []),
        (replace(USUAL, documents=50_000), ["documents"]),
        (replace(USUAL, documents=0, shown=0, mentions=0, linked=0, branches={}, scores=(0,) * 10), ["documents"]),
        (replace(USUAL, mentions=60_000, linked=54_000), ["mentions per document"]),
        (replace(USUAL, mentions=70_000, linked=63_000), []),
        (replace(USUAL, linked=66_000), ["unlinked share"]),
        (replace(USUAL, branches={"C04": 0.38, "D02": 0.5, "C23": 0.12}), ["concept mix"]),
        (replace(USUAL, branches={"C04": 0.45, "D02": 0.5, "C23": 0.05}), []),
        (replace(USUAL, scores=(0, 0, 0, 0, 0, 3, 3, 4, 4, 6)), ["scores"]),
        (replace(USUAL, documents=9_000, shown=100, mentions=10, linked=0, scores=(0,) * 10), []),
    ],
)
def test_each_figure_has_its_limit(tonight: Night, drifted: list[str]) -> None:
    assert drift(tonight, BEFORE).drifted == drifted


def test_normal_variation_raises_no_alarm() -> None:
    wild = [replace(USUAL, mentions=mentions, linked=mentions * 9 // 10) for mentions in (40_000, 80_000, 120_000) * 3]
    assert drift(replace(USUAL, mentions=150_000, linked=135_000), wild).drifted == []


def test_few_nights_are_not_compared_and_old_ones_are_ignored() -> None:
    assert drift(replace(USUAL, documents=1), BEFORE[:6]).figures == ()
    old = [replace(USUAL, documents=10) for _ in range(50)]
    assert drift(USUAL, [*old, *BEFORE], limits=DriftLimits(nights=8)).drifted == []


def test_news_are_reported_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert read_news(home) == News()
    assert read_drift(home) is None
    add_vocabulary(home)
    folder = home.root / "corrections"
    folder.mkdir()
    (folder / "mine.txt").write_text("7|t|Gout\n")
    (folder / ".hidden").touch()
    news = read_news(home)
    assert news == News(corrections=("mine.txt",), mesh=("2024",))
    note_news(home, news)
    assert read_news(home) == News(corrections=("mine.txt",))  # until a retraining has used it
    note_consumed(home, pending_corrections(home))
    assert read_news(home) == News()
    (folder / "mine.txt").write_text("7|t|Gout again\n")
    assert read_news(home) == News(corrections=("mine.txt",))
    (home.root / "reported.json").write_text("{}")
    with pytest.raises(WarehouseError, match=r"reported\.json is damaged; delete it"):
        read_news(home)


def test_a_version_linked_before_is_not_news(tmp_path: Path) -> None:
    """Cause: after a new version was imported and linked, the event announced the previous one."""
    home = Home(tmp_path)
    add_vocabulary(home)
    write_run(home, finish_run(begin_run(versions={"model": "m", "mesh": "2024"})))
    write_run(home, finish_run(begin_run(versions={"model": "m", "mesh": "2027"})))
    assert read_news(home) == News()


def test_the_current_version_is_not_news(tmp_path: Path) -> None:
    home, source = Home(tmp_path), key("pubmed21n0001.xml", "1")
    add_vocabulary(home)
    add_source(home, source, [document(0, "1")])
    add_run(home, source)
    publish(home, VERSIONS)
    assert read_news(home) == News()
    found = read_drift(home)
    assert found is not None
    assert (found.nights, found.figures) == (0, ())
