"""Retention: expired data is deleted, a dry run only lists it, and everything else is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from e2emern.flows.cli import app
from e2emern.model.evaluation.metrics import EVALUATIONS
from e2emern.tasks.ingest import Limits, ingest
from e2emern.tasks.ingest.download_folder import DownloadFolder
from e2emern.tasks.retention import Freed, Retention, active_work, apply_retention
from e2emern.tasks.training.retrain import ENDED
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.home_format import write_format
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.registry.evaluations import Check, Judged, write_judged
from e2emern.warehouse.registry.models import add_model, models, promote
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.runs import begin_run, finish_run, write_run
from tests.pages import arguments
from tests.warehouse.homes import MESH, VERSIONS, add_run, add_source, add_vocabulary, document, key

OLD = "pubmed25n0001.xml"
LISTED = "pubmed26n0001.xml"
DUMP = b"<PubmedArticleSet></PubmedArticleSet>"
FIRST, OTHER = key(OLD, "1"), key(LISTED, "3")
REISSUED = SourceKey(OLD, f"{hashlib.sha256(DUMP).hexdigest()[:16]}-1")
CANDIDATE = Versions("candidate", MESH)
LEADER = Versions("leader", MESH)
ALL = Retention(snapshots=1, grace_hours=0, models_days=0.5, dumps_days=0.5)
DAY_S = 86_400


def age(*paths: Path, days: float = 1) -> None:
    """Make files and folders older than they are."""
    for path in paths:
        for one in (path, *path.rglob("*")):
            when = one.stat().st_mtime - days * DAY_S
            os.utime(one, (when, when))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two snapshots, a backfill that was never published, one of the champion, a refused model, two retrainings."""
    home = Home(tmp_path / "home")
    add_vocabulary(home)
    for source, document_id in ((FIRST, "1"), (REISSUED, "2"), (OTHER, "3")):
        add_source(home, source, [document(0, document_id)])
        add_run(home, source)
        publish(home, VERSIONS)
    for versions in (CANDIDATE, LEADER):
        for file in (home.mentions(OTHER, versions), home.unread(OTHER, versions)):
            file.parent.mkdir(parents=True)
            file.write_bytes(b"12345")
    home.parts(FIRST, CANDIDATE).mkdir(parents=True)
    (home.parts(FIRST, CANDIDATE) / "000000000-000000256.parquet").write_bytes(b"1")
    for version in ("leader", "refused"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.json").write_text("{}")
        add_model(home, tmp_path / version, version=version)
    promote(home, "leader", over=None)
    check = Check(name="F1", champion=0.7, challenger=0.6, least=0.7, passed=False)
    judged = Judged(
        evaluation="e1",
        evaluated="2026-01-02T03:04:05+00:00",
        challenger="refused",
        champion="leader",
        mesh_version=MESH,
        checks=(check,),
    )
    write_judged(home, judged, figures=pa.Table.from_pylist([], schema=EVALUATIONS), report="# Refused\n")
    for name in ("ended", "interrupted"):
        (home.training / name / "model").mkdir(parents=True)
        (home.training / name / "model" / "weights").write_bytes(b"1234567")
    (home.training / "ended" / ENDED).write_text("{}")
    age(
        home.training,
        *(home.root / kind for kind in ("mentions", "failures", "parts")),
        *home.snapshots.glob("*.duckdb"),
    )
    return home


def test_expired_data_is_deleted_and_a_dry_run_lists_the_same(home: Home) -> None:
    before = sorted(home.root.rglob("*"))
    announced = apply_retention(home.root, ALL, dry=True)
    assert sorted(home.root.rglob("*")) == before
    assert {one.what: (one.names, one.files) for one in announced} == {
        "snapshots": (("1", "2"), 5),
        "unpublished mentions": (tuple(f"{kind}/{CANDIDATE.folder}" for kind in ("mentions", "failures", "parts")), 3),
        "retrainings": (("training/ended/model", "training/interrupted"), 2),
        "models": (("models/refused",), 2),
        "dumps": ((), 0),
    }
    assert [one.bytes for one in announced if one.what in ("unpublished mentions", "retrainings")] == [11, 14]

    assert apply_retention(home.root, ALL) == announced
    gone = [path for path in before if not path.exists()]
    assert home.documents(FIRST) in gone
    assert [path for path in gone if path.is_relative_to(home.runs)] == []
    assert home.mentions(OTHER, LEADER).exists()
    assert [one.version for one in models(home)] == ["leader"]
    assert (home.training / "ended" / ENDED).exists()
    invented = {f"{kind}/{LEADER.folder}/{OTHER.stem}.parquet" for kind in ("mentions", "failures")}
    assert {(one.code, str(one.path)) for one in examine(home)} == {("damaged-file", path) for path in invented}
    assert [one for one in apply_retention(home.root, ALL) if one.names or one.files] == []


def test_recent_used_and_champion_data_is_kept(home: Home) -> None:
    lately = Retention(snapshots=14, grace_hours=48, models_days=10_000)
    assert [one.what for one in apply_retention(home.root, lately) if one.names] == ["retrainings"]  # one has ended
    assert apply_retention(home.root, Retention(grace_hours=48, snapshots=1))[0].names == ()


def test_leftovers_of_a_killed_prune_are_deleted(home: Home) -> None:
    shutil.rmtree(home.mentions(OTHER, CANDIDATE).parent)
    (found,) = [one for one in apply_retention(home.root, ALL) if one.what == "unpublished mentions"]
    assert found.names == (f"failures/{CANDIDATE.folder}", f"parts/{CANDIDATE.folder}")
    assert not home.unread(OTHER, CANDIDATE).exists()
    assert home.unread(OTHER, VERSIONS).exists()


def test_a_home_without_a_snapshot(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    write_format(home)
    home.mentions(OTHER, CANDIDATE).parent.mkdir(parents=True)
    home.mentions(OTHER, CANDIDATE).write_bytes(b"12345")  # a first load that was not published yet
    age(home.root / "mentions")
    freed = apply_retention(home.root, ALL)
    assert freed[0] == Freed(what="snapshots", names=(), files=0, bytes=0)
    assert [one for one in freed if one.names] == []
    assert home.mentions(OTHER, CANDIDATE).exists()


def test_dump_files_are_deleted_when_unlisted_and_completely_in_the_tables(home: Home, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    for name in (OLD, LISTED, "pubmed25n0002.xml"):  # the last is not annotated yet
        (origin / name).write_bytes(DUMP)
    by_hand, elsewhere = "pubmed25n0003.xml", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.xml").write_bytes(DUMP)
    add_source(home, SourceKey(by_hand, REISSUED.digest), [document(0, "4")])
    add_source(home, SourceKey("other.xml", REISSUED.digest), [document(0, "5")])
    publish(home, VERSIONS)

    def fetch(*sources: Path) -> None:
        ingest(map(str, sources), home.dumps, pattern="*.xml")

    fetch(origin)
    fetch(elsewhere)  # once: nobody asked it again
    (home.dumps / by_hand).write_bytes(DUMP)
    keep_all, at_once = Retention(dumps_days=0), Retention(dumps_days=1e-9)

    def dumps(retention: Retention) -> tuple[str, ...]:
        return apply_retention(home.root, retention, dry=True)[-1].names

    assert dumps(at_once) == ()
    for path in origin.glob("pubmed25*"):
        path.unlink()
    fetch(origin, tmp_path / "away")  # a source cannot be listed: it might have them
    assert dumps(at_once) == ()
    fetch(origin)
    assert dumps(at_once) == (f"dumps/{OLD}",)
    assert dumps(keep_all) == dumps(Retention(dumps_days=2)) == ()
    (home.dumps / OLD).write_bytes(DUMP + b"\n")  # reissued, and not annotated
    assert dumps(at_once) == ()
    (home.dumps / OLD).write_bytes(DUMP)
    apply_retention(home.root, at_once)
    left = sorted(path.name for path in home.dumps.glob("[!.]*"))
    assert left == ["other.xml", "pubmed25n0002.xml", by_hand, LISTED]


def test_a_run_or_a_fetch_is_active_work(home: Home) -> None:
    assert active_work(home) is None
    run = begin_run()
    write_run(home, run)
    assert active_work(home) == f"run {run.run_id} on {run.host} is active"
    write_run(home, finish_run(run))
    with DownloadFolder(home.dumps, limits=Limits()).opened():
        assert active_work(home) == "dump files are being fetched"
    assert active_work(home) is None


def test_command(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "e2emern.toml").write_text("[retention]\nsnapshots = 2\ngrace_hours = 0\nmodels_days = 10000\n")
    for words, done in (
        (arguments("retention", "e2emern prune --home home --dry-run"), "would delete"),
        (arguments("retention", "e2emern prune --home home"), "deleted"),
    ):
        lines = CliRunner().invoke(app, words).stdout.splitlines()
        assert lines[0].startswith(f"{done} snapshots: 1 (5 files, ")
        assert lines[1].startswith(f"{done} retrainings: training/ended/model (1 file, ")
    assert CliRunner().invoke(app, words).stdout == "nothing to delete\n"
