"""Evaluations of models, kept in a home and shown by the next snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from e2emern.model.evaluation.metrics import EVALUATIONS
from e2emern.warehouse import schemas
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.sql import query
from e2emern.warehouse.registry.evaluations import Check, Judged, evaluations, read_judged, read_report, write_judged
from e2emern.warehouse.registry.models import add_model, promote
from tests.warehouse.homes import add_run, add_source, add_vocabulary, document, key, publish_it

DOCUMENT = Check(
    name="document F1", champion=0.7, challenger=0.65, low=-0.08, high=-0.02, least=-0.01, passed=False,
    reason="document F1: 70.0 -> 65.0",
)  # fmt: skip
SPEED = Check(name="throughput", champion=10.0, challenger=9.0, least=8.0, passed=True)
FIGURE = {
    "model_version": "bbb", "mesh_version": "2024", "corpus": "ncbi", "split": "dev", "protocol": "document",
    "slice": "all", "entity_type": "Disease", "figure": "f1", "value": 0.65, "tp": 13, "fp": 7, "fn": 7,
    "documents": 10, "floor": 0.5, "ceiling": 0.9,
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    add_vocabulary(found)
    source = key("pubmed21n0001.xml", "1")
    add_source(found, source, [document(0, "1")])
    add_run(found, source)
    return found


def evaluate(home: Home, *checks: Check, name: str = "e1") -> Judged:
    judged = Judged(
        evaluation=name, evaluated="2026-01-02T03:04:05+00:00", challenger="bbb", champion="aaa",
        mesh_version="2024", checks=checks,
    )  # fmt: skip
    write_judged(home, judged, figures=pa.Table.from_pylist([FIGURE], schema=EVALUATIONS), report="# Evaluation\n")
    return judged


def rows(home: Home, text: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in query(home, text).to_pylist()]


def test_an_evaluation_is_read_as_it_was_written(home: Home) -> None:
    assert read_judged(home, "e1") is None
    refused, passed, plain = (
        evaluate(home, DOCUMENT, SPEED),
        evaluate(home, SPEED, name="e2"),
        evaluate(home, name="e3"),
    )
    assert read_judged(home, "e1") == refused
    assert read_report(home, "e1") == "# Evaluation\n"
    assert evaluations(home) == [refused, passed, plain]
    assert [one.passed for one in evaluations(home)] == [False, True, None]
    assert refused.reasons == ["document F1: 70.0 -> 65.0"]


def test_a_snapshot_shows_models_figures_and_checks(home: Home, tmp_path: Path) -> None:
    assert publish_it(home).number == 1
    assert rows(home, "SELECT model_version, champion, added FROM models") == [("small-1", False, None)]
    assert rows(home, "SELECT (SELECT count(*) FROM evaluations), (SELECT count(*) FROM checks)") == [(0, 0)]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "metrics.json").write_text('{"rows": []}')
    add_model(home, tmp_path / "model", version="bbb")
    evaluate(home, DOCUMENT, SPEED)
    promote(home, "bbb", over=None, why="we know better")
    assert publish_it(home).number == 2
    assert publish_it(home).unchanged
    assert rows(home, "SELECT * EXCLUDE (added, promoted) FROM models") == [
        ("bbb", True, "e1", False, "document F1: 70.0 -> 65.0", None, '{"rows": []}'),
        ("small-1", False, None, None, None, None, None),
    ]
    assert rows(home, "SELECT evaluation, model_version, slice, figure, value FROM evaluations") == [
        ("e1", "bbb", "all", "f1", 0.65)
    ]
    assert rows(home, "SELECT name, champion, challenger, low, least, passed FROM checks") == [
        ("document F1", 0.7, 0.65, -0.08, -0.01, False),
        ("throughput", 10.0, 9.0, None, 8.0, True),
    ]


def test_the_table_of_figures_has_the_columns_that_evaluations_write() -> None:
    assert schemas.EVALUATIONS.names == ["evaluation", "evaluated", *EVALUATIONS.names]
    assert [field.type for field in schemas.EVALUATIONS][2:] == EVALUATIONS.types


def test_a_damaged_record_is_reported(home: Home) -> None:
    evaluate(home, SPEED)
    (home.root / "evaluations" / "e1" / "figures.parquet").write_text("no Parquet")
    with pytest.raises(WarehouseError, match=r"figures\.parquet is damaged; move its folder away and evaluate"):
        publish_it(home)
    (home.root / "evaluations" / "e1" / "verdict.json").write_text('{"checks": [{}]}')
    with pytest.raises(WarehouseError, match=r"verdict\.json is not a valid evaluation record; move its folder away"):
        evaluations(home)


@pytest.mark.parametrize("name", ["figures.parquet", "verdict.json"])
def test_a_flipped_bit_in_an_evaluation_is_found_and_set_aside(home: Home, name: str) -> None:
    evaluate(home, SPEED)
    path = home.root / "evaluations" / "e1" / name
    content = bytearray(path.read_bytes())
    content[content.index(b"f1") if name == "verdict.json" and b"f1" in content else 40] ^= 1
    path.write_bytes(content)
    assert [(one.code, one.path, one.repaired) for one in examine(home, repair=True)] == [
        ("damaged-evaluation", "evaluations/e1", "moved to quarantine")
    ]
    assert examine(home) == []
    assert evaluations(home) == []
