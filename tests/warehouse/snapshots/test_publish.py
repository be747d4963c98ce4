"""Publishing: what the views show, what is refused, and that readers and killed publishers do no harm."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2emern.warehouse import schemas
from e2emern.warehouse.errors import CountMismatchError, PublishRefusedError, WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.snapshots import build
from e2emern.warehouse.snapshots.reader import current_snapshot, read_snapshot
from e2emern.warehouse.snapshots.views import LISTS, TABLES, VIEWS
from e2emern.warehouse.sources.counts import SourceCounts
from tests.warehouse.homes import (
    MESH,
    MODEL,
    VERSIONS,
    add_run,
    add_source,
    add_vocabulary,
    document,
    key,
    mention,
    publish_it,
)

ROOT = Path(__file__).resolve().parents[3]
FIRST, SECOND = key("pubmed21n0001.xml.gz", "1"), key("pubmed21n1000.xml.gz", "2")


def rows(home: Home, query: str, *, path: Path | None = None) -> list[tuple[Any, ...]]:
    """Asks as any DuckDB client would."""
    with duckdb.connect(str(path or home.warehouse), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_first_snapshot(home: Home) -> None:
    note = {"start": 0, "end": 1, "text": "A", "entity_type": "Gene", "identifiers": ["7157", "X"]}
    add_source(
        home,
        FIRST,
        [document(0, "11") | {"annotations": [note]}, document(3, "12")],
        failures=[(1, "no PMID")],
        deletions=[(2, 99)],
        mentions=[mention(0, "11"), mention(0, "11", "D001241"), mention(3, "12", None), mention(3, "12", "C562840")],
    )
    run = add_run(home, FIRST)
    snapshot = publish_it(home)
    assert snapshot == replace(
        snapshot,
        number=1,
        operation="publish",
        model_version="small-1",
        mesh_version="2024",
        sources=1,
        damaged=0,
        documents=2,
        mentions=4,
        linked=3,
        concepts=3,
        failures=1,
        deletions=1,
        superseded=0,
        unchanged=False,
    )
    assert current_snapshot(home) == snapshot
    assert rows(home, "SELECT number, created, fingerprint FROM snapshot") == [
        (1, snapshot.created, snapshot.fingerprint)
    ]
    assert rows(home, "SELECT document_id, title, len(passages) FROM documents ORDER BY record") == [
        ("11", "A title", 1),
        ("12", "A title", 1),
    ]
    assert rows(home, "FROM annotations") == [
        ("pubmed21n0001.xml.gz", "1" * 16, 0, "11", 11, 0, 1, "A", "Gene", ["7157", "X"], None, None)
    ]
    assert rows(home, "SELECT record, position, reason FROM failures") == [(1, "line 1", "no PMID")]
    assert rows(home, "SELECT record, pmid FROM deletions") == [(2, 99)]
    assert rows(home, "SELECT name FROM entities WHERE mesh_id = 'D001943'") == [("Breast Neoplasms",)]
    under = "SELECT document_id, mesh_id FROM mentions JOIN entity_tree USING (mesh_id) WHERE ancestor_id = 'D009369'"
    assert rows(home, f"{under} ORDER BY ALL") == [("11", "D001943"), ("12", "C562840")]
    # parsed, documents, annotated, without text, failed, deleted, invalid annotations, carried
    counts = (4, 2, 2, 0, 1, 1, 0, 0)
    assert rows(home, "FROM sources") == [
        ("pubmed21n0001.xml.gz", "1" * 16, 0, True, "pubmed-xml", 100, "complete", None, *counts, 4, run, run, None)
    ]
    assert rows(home, "SELECT run_id, sources, finished >= started FROM runs") == [(run, 1, True)]
    assert rows(home, "SELECT model_version, champion, metrics FROM models") == [("small-1", False, None)]


def test_failures_of_parsing_and_of_the_model_are_shown(home: Home) -> None:
    add_source(
        home, FIRST, [document(1, "11"), document(2, "12")], failures=[(0, "no PMID")], unread=[(2, "model: no")]
    )
    snapshot = publish_it(home)
    assert (snapshot.failures, snapshot.documents, snapshot.mentions) == (2, 2, 1)
    assert rows(home, "SELECT record, reason FROM failures ORDER BY ALL") == [(0, "no PMID"), (2, "model: no")]
    assert rows(home, "SELECT count(*) FROM files WHERE view = 'failures'") == [(2,)]


def test_empty_and_damaged_sources(home: Home) -> None:
    add_source(home, FIRST, error="truncated at byte 100")
    snapshot = publish_it(home)
    assert (snapshot.sources, snapshot.damaged, snapshot.documents, snapshot.mentions) == (1, 1, 0, 0)
    views = ["documents", "mentions", "annotations", "failures", "deletions", "superseded"]
    assert [rows(home, f"FROM {view}") for view in views] == [[]] * 6
    assert rows(home, "SELECT status, error FROM sources") == [("damaged", "truncated at byte 100")]


def test_every_column_is_described(home: Home) -> None:
    add_source(home, FIRST)
    publish_it(home)
    described = rows(home, "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal")
    names = [*VIEWS, *LISTS, *TABLES]
    assert sorted(described) == sorted(
        (name, column.name, column.metadata[b"description"].decode())
        for name in names
        for column in getattr(schemas, name.upper())
    )
    of_views = "SELECT comment FROM duckdb_views() WHERE NOT internal UNION ALL SELECT comment FROM duckdb_tables()"
    assert all(comment for (comment,) in rows(home, of_views))
    assert len(rows(home, of_views)) == len(names) == 19


@pytest.mark.parametrize("faulty", [FIRST, SECOND])
def test_every_source_is_verified_however_many(home: Home, monkeypatch: pytest.MonkeyPatch, faulty: SourceKey) -> None:
    monkeypatch.setattr(build, "_VERIFIED_AT_ONCE", 1)
    for source, number in ((FIRST, "11"), (SECOND, "12")):
        twice = [mention(0, number)] * (2 if source == faulty else 1)
        add_source(home, source, [document(0, number)], mentions=twice)
    with pytest.raises(PublishRefusedError, match=f"{faulty.name}: document .* 2 times, expected once"):
        publish_it(home)


def test_a_file_written_again_with_other_rows_is_published_again(home: Home) -> None:
    """As after a repair on another machine, on which the model finds other mentions."""
    documents = [document(0, "11"), document(1, "12")]
    add_source(home, FIRST, documents)
    add_run(home, FIRST)
    assert publish_it(home).mentions == 2
    add_source(home, FIRST, documents, mentions=[mention(0, "11"), mention(0, "11", "D001241"), mention(1, "12")])
    again = publish_it(home)
    assert (again.number, again.mentions, again.unchanged) == (2, 3, False)
    assert rows(home, "SELECT mentions FROM sources") == rows(home, "SELECT rows FROM files WHERE view = 'mentions'")
    assert publish_it(home).unchanged


def test_nothing_new_gives_no_new_snapshot(home: Home) -> None:
    add_source(home, FIRST, [document(0, "1")])
    add_run(home, FIRST)
    first = publish_it(home)
    add_run(home, FIRST)
    assert publish_it(home) == replace(first, unchanged=True)
    assert [path.name for path in home.snapshots.iterdir()] == ["1.duckdb"]
    add_source(home, SECOND)
    assert publish_it(home).number == 2


def test_earlier_snapshots_answer_as_before(home: Home) -> None:
    add_source(home, FIRST, [document(0, "1")])
    publish_it(home)
    add_source(home, SECOND, deletions=[(0, 1)])
    publish_it(home)
    assert rows(home, "SELECT count(*) FROM documents") == [(0,)]
    assert rows(home, "SELECT count(*) FROM documents", path=home.snapshot(1)) == [(1,)]
    with duckdb.connect() as connection:  # both at once, under other names
        for number in (1, 2):
            connection.execute(f"ATTACH '{home.snapshot(number)}' AS night_{number} (READ_ONLY)")
        gone = "SELECT document_id FROM night_1.documents ANTI JOIN night_2.documents USING (document_id)"
        assert connection.execute(gone).fetchall() == [("1",)]


def test_a_reader_keeps_the_snapshot_it_opened(home: Home) -> None:
    add_source(home, FIRST, [document(0, "1")])
    publish_it(home)
    reader = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1], read_only=True)\n"
        "print(connection.execute('SELECT count(*) FROM documents').fetchone()[0], flush=True)\n"
        "sys.stdin.readline()\n"
        "print(connection.execute('SELECT count(*), count(DISTINCT document_id) FROM mentions').fetchone()[0])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reader, str(home.warehouse)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
        add_source(home, SECOND, [document(0, "2"), document(1, "3")])
        assert publish_it(home).number == 2
        assert rows(home, "SELECT count(*) FROM documents") == [(3,)]
        assert child.communicate("\n")[0] == "1\n"
    assert child.returncode == 0


def test_two_publishers_at_once(home: Home) -> None:
    add_source(home, FIRST, [document(0, "1")])
    publisher = (
        "import sys; from pathlib import Path\n"
        "from e2emern.warehouse.layout import Home, Versions; from e2emern.warehouse.snapshots.publish import publish\n"
        "print(publish(Home(Path(sys.argv[1])), Versions('small-1', '2024')).number)"
    )
    command = [sys.executable, "-c", publisher, str(home.root)]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: subprocess.run(command, cwd=ROOT, capture_output=True, text=True), range(3)))
    assert [one.stderr for one in done] == [""] * 3
    assert [one.stdout for one in done] == ["1\n"] * 3
    assert [path.name for path in home.snapshots.iterdir()] == ["1.duckdb"]


def test_a_killed_publisher_leaves_no_trace(home: Home) -> None:
    """The publisher dies with the snapshot built but not yet named."""
    add_source(home, FIRST, [document(0, "1")])
    publish_it(home)
    add_source(home, SECOND, [document(0, "2")])
    publisher = (
        "import os, signal, sys; from pathlib import Path\n"
        "from e2emern.warehouse.snapshots import refs as shelf, publish as snapshot\n"
        "from e2emern.warehouse.layout import Home, Versions\n"
        "shelf.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        "snapshot.publish(Home(Path(sys.argv[1])), Versions('small-1', '2024'))"
    )
    killed = subprocess.run([sys.executable, "-c", publisher, str(home.root)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in home.snapshots.iterdir()) == [".building.duckdb", "1.duckdb"]
    assert rows(home, "SELECT count(*) FROM documents") == [(1,)]
    assert publish_it(home).number == 2
    assert sorted(path.name for path in home.snapshots.iterdir()) == ["1.duckdb", "2.duckdb"]
    assert rows(home, "SELECT count(*) FROM documents") == [(2,)]


def test_a_moved_home_is_published_in_its_new_place(tmp_path: Path) -> None:
    old, new = Home(tmp_path / "old [1]*"), Home(tmp_path / "new's")
    add_vocabulary(old)
    add_source(old, FIRST, [document(0, "1")])
    publish_it(old)
    assert rows(old, "SELECT count(*) FROM documents") == [(1,)]
    shutil.move(old.root, new.root)
    assert publish_it(new).unchanged
    assert rows(new, "SELECT count(*) FROM documents") == [(1,)]


def unbalance(home: Home) -> None:
    counts = SourceCounts(parsed=2, documents=1, annotated=1, without_text=0, failed=0, deleted=0)
    add_source(home, SECOND, [document(0, "2")], counts=counts)


def lose_failures(home: Home) -> None:
    counts = SourceCounts(parsed=2, documents=1, annotated=1, without_text=0, failed=1, deleted=0)
    add_source(home, SECOND, [document(0, "2")], counts=counts)


def lose_a_file(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")])
    home.deletions(SECOND).unlink()


def lose_the_unread(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")])
    home.unread(SECOND, VERSIONS).unlink()


def damage_a_file(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")])
    home.documents(SECOND).write_bytes(b"PAR1")


def swap_files(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")])
    shutil.copy(home.documents(FIRST), home.documents(SECOND))


def rename_mentions(home: Home) -> None:
    path = home.mentions(FIRST, VERSIONS)
    shutil.copy(path, home.mentions(SECOND, VERSIONS))


def homeless_mention(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")], mentions=[mention(0, "2"), mention(7, "77")])


def repeated_mention(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")], mentions=[mention(0, "2", None), mention(0, "2", None)])


def foreign_model(home: Home) -> None:
    add_source(home, SECOND, [document(0, "2")], mentions=[mention(0, "2") | {"model_version": "other"}])


def lose_invalid_annotations(home: Home) -> None:
    counts = SourceCounts(
        parsed=1, documents=1, annotated=1, without_text=0, failed=0, deleted=0, invalid_annotations=2
    )
    add_source(home, SECOND, [document(0, "2")], counts=counts)


def lose_vocabulary(home: Home) -> None:
    add_source(home, SECOND)
    home.entity_tree(MESH).unlink()


@pytest.mark.parametrize(
    ("break_it", "kind", "message"),
    [
        (
            unbalance,
            CountMismatchError,
            "pubmed21n1000.xml.gz: parsed 2 records, but 1 annotated + 0 without text + 0 failed",
        ),
        (
            lose_failures,
            PublishRefusedError,
            "expected [('pubmed21n1000.xml.gz', '2222222222222222', 1)] from the record counts",
        ),
        (
            lose_invalid_annotations,
            PublishRefusedError,
            "has 0 invalid annotations, expected 2 as recorded; delete it",
        ),
        (lose_the_unread, PublishRefusedError, f"failures/{MODEL}@{MESH}/{SECOND.stem}.parquet is missing; delete "),
        (lose_a_file, PublishRefusedError, f"deletions/{SECOND.stem}.parquet is missing; delete "),
        (damage_a_file, WarehouseError, f"documents/{SECOND.stem}.parquet"),
        (swap_files, PublishRefusedError, "has rows [('pubmed21n0001.xml.gz', '1111111111111111', 1)], expected"),
        (
            rename_mentions,
            PublishRefusedError,
            f"holds the record counts of {FIRST.stem}; delete it and annotate again",
        ),
        (homeless_mention, PublishRefusedError, "mentions of document 77 (record 7), which is not among its documents"),
        (
            repeated_mention,
            PublishRefusedError,
            "document 2 has the mention 0-1 Disease no concept 2 times, expected once",
        ),
        (foreign_model, PublishRefusedError, "has mentions of other@2024, expected small-1@2024; delete it"),
        (lose_vocabulary, WarehouseError, "vocabulary 2024 is missing"),
    ],
)
def test_refused(home: Home, break_it: Any, kind: type[Exception], message: str) -> None:
    add_source(home, FIRST, [document(0, "1")])
    publish_it(home)
    break_it(home)
    with pytest.raises(kind) as caught:
        publish_it(home)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in home.snapshots.iterdir()] == ["1.duckdb"]
    assert rows(home, "SELECT number FROM snapshot") == [(1,)]
    add_vocabulary(home)
    add_source(home, SECOND, [document(0, "2")])
    assert publish_it(home).number == 2


def test_nothing_to_publish(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"absent does not exist; annotate something into it first"):
        publish_it(Home(tmp_path / "absent"))
    with pytest.raises(WarehouseError, match=r"small-1@2024 has no mentions; annotate something first"):
        publish_it(Home(tmp_path))
    assert current_snapshot(Home(tmp_path)) is None


def test_a_damaged_snapshot_is_named(home: Home) -> None:
    add_source(home, FIRST)
    publish_it(home)
    home.snapshot(1).chmod(0o644)
    home.snapshot(1).write_bytes(b"nothing")
    with pytest.raises(WarehouseError, match=r"1\.duckdb cannot be opened: ") as caught:
        current_snapshot(home)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dangling", [True, False])
def test_an_invalid_link_is_distinguished_from_a_missing_one(home: Home, dangling: bool) -> None:
    """A copy in place of the link was passed over, and with it the gate; a link to nowhere was taken for none."""
    add_source(home, FIRST)
    publish_it(home)
    if dangling:
        home.snapshot(1).rename(home.snapshots / "1.duckdb.damaged")
    else:
        home.warehouse.unlink()
        shutil.copyfile(home.snapshot(1), home.warehouse)
    for ask in (current_snapshot, read_snapshot, publish_it):
        with pytest.raises(WarehouseError, match=r"is not a link to an existing snapshot; run e2emern doctor --repair"):
            ask(home)


def test_a_snapshot_cannot_be_written(home: Home) -> None:
    add_source(home, FIRST)
    publish_it(home)
    assert home.snapshot(1).stat().st_mode & 0o777 == 0o444
    assert home.warehouse.readlink() == Path("snapshots/1.duckdb")
