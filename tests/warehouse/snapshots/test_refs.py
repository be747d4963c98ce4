"""Which snapshot is current, who may change it, and where it reads its files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2emern.warehouse.errors import OvertakenError, PublishRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.login import login
from e2emern.warehouse.queries.documents import annotated_rows
from e2emern.warehouse.queries.saved import answer
from e2emern.warehouse.queries.sql import query
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import Snapshot, open_snapshot, read_snapshot
from e2emern.warehouse.snapshots.refs import (
    active_rollback,
    current_number,
    number_before,
    relocate,
    roll_back,
    rollbacks,
)
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_run, add_source, add_vocabulary, document, key

ROOT = Path(__file__).resolve().parents[3]
NO_LINK = r"warehouse\.duckdb is not a link to an existing snapshot; run e2emern doctor --repair$"


def night(home: Home, number: int) -> Snapshot:
    """One more source, with one document, and a snapshot of it."""
    source = key(f"pubmed21n{number:04d}.xml", str(number))
    add_source(home, source, [document(0, str(number))])
    add_run(home, source)
    return publish(home, VERSIONS)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with snapshots 1, 2 and 3, to be copied."""
    home = Home(tmp_path_factory.mktemp("three"))
    add_vocabulary(home)
    for number in (1, 2, 3):
        night(home, number)
    return home


@pytest.fixture
def home(three: Home, tmp_path: Path) -> Home:
    """A home with snapshots 1, 2 and 3."""
    home = Home(tmp_path / "home")
    shutil.copytree(three.root, home.root, symlinks=True)
    relocate(home)
    return home


def ask(path: Path, sql: str = "SELECT count(*) FROM documents", *, before: str = "") -> list[tuple[Any, ...]]:
    """Asks as any DuckDB client would."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute(before or "SELECT 1")
        return connection.execute(sql).fetchall()


def test_rollback(home: Home) -> None:
    with duckdb.connect(str(home.warehouse), read_only=True) as reader:
        done = roll_back(home, why="dump 3 is cut short")
        assert (done.left, done.shown, done.by, done.why) == (3, 2, login(), "dump 3 is cut short")
        assert rollbacks(home) == [done]
        assert ask(home.warehouse) == [(2,)]
        assert reader.execute("SELECT count(*) FROM documents").fetchall() == [(3,)]
    assert roll_back(home, 1).left == 2
    assert ask(home.warehouse) == [(1,)]
    assert roll_back(home, 3).left == 1  # forward again
    assert ask(home.warehouse) == [(3,)]
    assert night(home, 4).previous == 3


def test_a_withdrawn_snapshot_is_not_shown_again_unasked(home: Home) -> None:
    roll_back(home, 1, why="dump 2 is wrong")
    refused = (
        f"^{login()} went back from snapshot 3 to 1 \\(dump 2 is wrong\\), and publishing would show again what was "
        r"withdrawn; remove what was wrong with it, then publish with --accept WHY \(e2emern snapshots publish\)$"
    )
    with pytest.raises(PublishRefusedError, match=refused):
        publish(home, VERSIONS)
    with pytest.raises(PublishRefusedError, match=refused):
        night(home, 4)
    assert ask(home.warehouse) == [(1,)]
    home.mentions(key("pubmed21n0002.xml", "2"), VERSIONS).unlink()
    snapshot = publish(home, VERSIONS, accept="dump 2 is out")
    assert (snapshot.number, snapshot.previous, snapshot.documents) == (4, 1, 3)
    assert snapshot.accepted == f"{login()}: dump 2 is out"
    assert night(home, 5).number == 5


def test_a_publish_only_replaces_the_snapshot_it_started_from(home: Home) -> None:
    seen = read_snapshot(home)
    assert night(home, 4).number == 4
    assert publish(home, VERSIONS, over=seen).unchanged
    home.mentions(key("pubmed21n0002.xml", "2"), VERSIONS).unlink()
    overtaken = f"^snapshot 4 of model {MODEL} and MeSH {MESH} is current now, and nothing was published in its place; "
    with pytest.raises(OvertakenError, match=overtaken):
        publish(home, VERSIONS, over=seen)
    assert ask(home.warehouse) == [(4,)]
    assert publish(home, VERSIONS, over=read_snapshot(home)).documents == 3


def test_two_rollbacks_in_a_row_withdraw_what_the_first_did(home: Home) -> None:
    roll_back(home, 1, why="dump 2 is wrong")
    roll_back(home, 2, why="it was dump 3")
    standing = active_rollback(home)
    assert standing is not None
    assert (standing.left, standing.shown, standing.why) == (3, 2, "it was dump 3")
    with pytest.raises(PublishRefusedError, match=r"went back from snapshot 3 to 2 \(it was dump 3\)"):
        night(home, 4)
    roll_back(home, 3)
    assert active_rollback(home) is None
    assert night(home, 5).number == 4


def test_the_previous_snapshot_is_never_a_withdrawn_one(home: Home) -> None:
    roll_back(home, 1, why="snapshots 2 and 3 are wrong")
    source = key("pubmed21n0004.xml", "4")
    add_source(home, source, [document(0, "4")])
    add_run(home, source)
    after = publish(home, VERSIONS, accept="they are right")
    assert (after.number, after.previous, number_before(home, 4)) == (4, 1, 1)
    since = answer(home, "new-documents")
    assert sorted(row["document_id"] for row in since.to_pylist()) == ["2", "3", "4"]
    assert roll_back(home).shown == 1


def test_before_a_damaged_snapshot_comes_no_withdrawn_one(home: Home) -> None:
    roll_back(home, 1, why="snapshots 2 and 3 are wrong")
    publish(home, VERSIONS, accept="they are right")
    home.snapshot(4).chmod(0o644)
    home.snapshot(4).write_bytes(b"nothing")
    assert number_before(home, 4) == 1
    assert roll_back(home).shown == 1


def test_a_link_that_somebody_else_set(home: Home) -> None:
    home.warehouse.unlink()
    home.warehouse.symlink_to(home.snapshot(2))  # by its whole path
    assert current_number(home) == 2
    for target in ("snapshots/9.duckdb", "snapshots/latest.duckdb", "publish.lock"):
        home.warehouse.unlink()
        home.warehouse.symlink_to(target)
        with pytest.raises(WarehouseError, match=NO_LINK):
            roll_back(home, 1)


def test_snapshots_of_another_user_can_be_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of a group one may replace the link, and not change the time of the file that it showed."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "utime", forbidden)
    assert night(home, 4).number == 4
    assert roll_back(home).shown == 3


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (7, r"has no snapshot 7; found 1, 2, 3$"),
        (3, r"^snapshot 3 is the current one already; nothing was changed$"),
    ],
)
def test_no_rollback(home: Home, number: int, message: str) -> None:
    with pytest.raises(WarehouseError, match=message):
        roll_back(home, number)
    assert rollbacks(home) == []


def test_no_rollback_before_the_first(home: Home, tmp_path: Path) -> None:
    roll_back(home, 1)
    with pytest.raises(WarehouseError, match=r"^snapshot 1 is the oldest of .*; there is none to go back to$"):
        roll_back(home)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WarehouseError, match=r"empty has no snapshot yet; annotate something into it first$"):
        roll_back(Home(tmp_path / "empty"))


def test_no_rollback_to_a_damaged_snapshot(home: Home) -> None:
    home.snapshot(2).chmod(0o644)
    home.snapshot(2).write_bytes(b"nothing")
    with pytest.raises(WarehouseError, match=r"2\.duckdb cannot be opened: "):
        roll_back(home)
    assert ask(home.warehouse) == [(3,)]


def test_a_publisher_killed_before_the_link_does_not_block_others(home: Home) -> None:
    """Snapshot 4 has its name already, but is not current; it is not taken for one that was withdrawn."""
    source = key("pubmed21n0004.xml", "4")
    add_source(home, source, [document(0, "4")])
    add_run(home, source)
    publisher = (
        "import os, signal, sys; from pathlib import Path\n"
        "from e2emern.warehouse.snapshots import publish as snapshot\n"
        "from e2emern.warehouse.layout import Home, Versions\n"
        "snapshot.set_current = lambda home, number: os.kill(os.getpid(), signal.SIGKILL)\n"
        "snapshot.publish(Home(Path(sys.argv[1])), Versions('small-1', '2024'))"
    )
    killed = subprocess.run([sys.executable, "-c", publisher, str(home.root)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert ask(home.warehouse) == [(3,)]
    assert (publish(home, VERSIONS).number, ask(home.warehouse)) == (5, [(4,)])


def test_a_home_that_moved(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Home(tmp_path / "it's [a] *home")
    shutil.move(home.root, moved.root)
    monkeypatch.chdir(tmp_path)
    # our own readers need nothing
    assert query(moved, "SELECT count(*) AS n FROM documents").to_pylist() == [{"n": 3}]
    assert len(list(annotated_rows(moved))) == 3
    with open_snapshot(moved, 2) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchall() == [(2,)]
    # other clients need a variable, or the paths rewritten
    with pytest.raises(duckdb.IOException, match="No files found"):
        ask(moved.warehouse)
    pattern = str(moved.root).replace("'", "''").replace("[", "[[]").replace("*", "[*]")
    assert ask(moved.warehouse, before=f"SET VARIABLE e2emern_home = '{pattern}'") == [(3,)]
    before = {number: read_snapshot(moved, number) for number in (1, 2, 3)}
    assert relocate(moved) == [1, 2, 3]
    assert [ask(moved.snapshot(number)) for number in (1, 2, 3)] == [[(1,)], [(2,)], [(3,)]]
    assert ask(moved.warehouse, "SELECT comment FROM duckdb_views() WHERE view_name = 'documents'") == [
        ("Current documents: one row per document_id",)
    ]
    assert {number: read_snapshot(moved, number) for number in (1, 2, 3)} == before
    assert moved.snapshot(1).stat().st_mode & 0o777 == 0o444
    assert relocate(moved) == []
    with duckdb.connect() as connection:  # two at once, each by its own home()
        connection.execute(f"ATTACH '{str(moved.snapshot(1)).replace(chr(39), chr(39) * 2)}' AS one (READ_ONLY)")
        connection.execute(f"ATTACH '{str(moved.snapshot(2)).replace(chr(39), chr(39) * 2)}' AS two (READ_ONLY)")
        lost = "SELECT document_id FROM two.documents ANTI JOIN one.documents USING (document_id)"
        assert connection.execute(lost).fetchall() == [("2",)]


def test_a_home_on_another_mount_is_read_from_there(home: Home, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    shutil.copytree(home.root, mount, symlinks=True)
    shutil.rmtree(home.documents(key("x")).parent)  # the first place is not looked at
    assert query(Home(mount), "SELECT count(*) AS n FROM documents").to_pylist() == [{"n": 3}]
