"""Metrics and `status --json` hold the figures of the home; `drift` exits with 1 if the last night has drifted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from e2emern.flows.cli import app
from e2emern.flows.metrics import metrics_text
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.sources.runs import SourceOutcome, begin_run, finish_run, write_run
from tests.pages import arguments
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key, mention

NIGHTS = 9
LAST = datetime(2026, 3, 9, 2, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Nine nights of two documents, the last of 30, with a failure and an unlinked mention; one dump file waits."""
    home = Home(tmp_path_factory.mktemp("metrics") / "home")
    add_vocabulary(home)
    for night in range(1, NIGHTS + 1):
        source, first = key(f"pubmed26n{night:04}.xml", f"{night}"), 100 * night
        documents = [document(at, str(first + at)) for at in range(30 if night == NIGHTS else 2)]
        mentions = [mention(0, str(first)), mention(1, str(first + 1), None if night == NIGHTS else "D001943")]
        failures = [(30, "PMID 'x' is not a number")] if night == NIGHTS else []
        add_source(home, source, documents, mentions=mentions, failures=failures)
        began = LAST - timedelta(days=NIGHTS - night)
        outcome = SourceOutcome(name=source.name, digest=source.digest, outcome="annotated")
        run = replace(begin_run(read_history(home).runs), started=began.isoformat(), sources=(outcome,))
        write_run(home, replace(finish_run(run), finished=(began + timedelta(seconds=60)).isoformat()))
    publish(home, VERSIONS)
    home.dumps.mkdir()
    (home.dumps / "pubmed26n0010.xml.gz").write_bytes(bytes(1000))
    return home


def values(text: str) -> dict[str, float]:
    """The samples of a text in Prometheus' format, by name and the values of their labels."""
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_are_those_of_the_home(home: Home) -> None:
    found = values(metrics_text(home).decode())
    assert found["e2emern_last_run_start_seconds"] == LAST.timestamp()
    expected = {
        "last_run_success": 1,
        "last_run_duration_seconds": 60,
        "last_run_sources": 1,
        "last_run_documents": 30,
        "last_run_mentions": 2,
        "last_run_failures": 1,
        "last_run_documents_per_second": 0.5,
        "snapshot_documents": 46,
        "snapshot_mentions": 18,
        "snapshot_linked_mentions": 17,
        "snapshot_failures": 1,
        "backlog_files": 1,
        "backlog_bytes": 1000,
        "drifted": 1,
        "drift_nights": 8,
    }
    assert {name: found[f"e2emern_{name}"] for name in expected} == expected
    assert found["e2emern_drift_deviation documents"] > found["e2emern_drift_limit documents"]
    assert 0 < found["e2emern_disk_free_bytes"] < found["e2emern_disk_size_bytes"]


def test_the_file_of_the_collector_has_the_checks_too(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2EMERN_DEVICE", "cpu")
    monkeypatch.chdir(home.root.parent)
    file = tmp_path / "e2emern.prom"
    file.write_text("old")
    printed = arguments("operations", "e2emern metrics --home home")
    *written, place = arguments(
        "operations", "e2emern metrics --home home --output /var/lib/node_exporter/e2emern.prom"
    )
    assert Path(place).name == file.name
    for words in ([*written, str(file)], printed):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0
        found = values(done.stdout or file.read_text())
        assert (found["e2emern_check locks"], found["e2emern_check checksums"]) == (0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["e2emern.prom"]


def test_a_home_without_a_snapshot_has_metrics(tmp_path: Path) -> None:
    add_vocabulary(Home(tmp_path / "home"))
    found = values(metrics_text(Home(tmp_path / "home")).decode())
    assert found["e2emern_backlog_files"] == 0
    assert "e2emern_last_run_success" not in found


def test_status_as_json_is_not_truncated(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.root.parent)
    done = CliRunner().invoke(app, arguments("operations", "e2emern status --home home --json"))
    state = json.loads(done.stdout)
    assert state["snapshot"]["documents"] == 46
    assert state["linked_share"] == pytest.approx(17 / 18)
    assert state["last_run"]["started"] == LAST.isoformat()
    assert state["backlog"] == ["pubmed26n0010.xml.gz"]
    assert state["failures"] == {"PMID 'x' is not a number": 1}
    assert (state["champion"], state["invalid_annotations"], state["damaged"]) == (None, {}, {})


def test_drift_is_an_exit_code(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.root.parent)
    done = CliRunner().invoke(app, arguments("operations", "e2emern drift --home home"))
    assert done.exit_code == 1
    assert done.stdout.startswith("documents: usually 2.000, 30.000, off by ")
    assert done.stdout.endswith(", drifted\n")
