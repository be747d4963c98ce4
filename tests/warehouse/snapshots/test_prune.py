"""Pruning: what is deleted, and above all what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.prune import Pruned, prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.snapshots.refs import roll_back
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_run, add_source, add_vocabulary, document, key

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW, OTHER, WAITING = key("a.txt", "1"), key("a.txt", "2"), key("b.txt", "3"), key("c.txt", "4")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Snapshot 1 shows a source that was issued again before snapshots 2 and 3; another waits to be published."""
    home = Home(tmp_path)
    add_vocabulary(home)
    for source, document_id in ((OLD, "1"), (NEW, "2"), (OTHER, "3")):
        add_source(home, source, [document(0, document_id)])
        add_run(home, source)
        publish(home, VERSIONS)
    add_source(home, WAITING, [document(0, "4")])
    add_run(home, WAITING)
    return home


def files(home: Home, source: SourceKey) -> list[str]:
    return sorted(str(path.relative_to(home.root).parent) for path in home.root.rglob(f"{source.stem}.parquet"))


def shown(home: Home, number: int | None = None) -> list[str]:
    with open_snapshot(home, number) as connection:
        found = connection.execute("SELECT document_id FROM documents JOIN mentions USING (document_id) ORDER BY ALL")
        return [document_id for (document_id,) in found.fetchall()]


EVERY = ["deletions", "documents", "failures", f"failures/{MODEL}@{MESH}", f"mentions/{MODEL}@{MESH}"]


def test_what_only_a_deleted_snapshot_showed_goes(home: Home) -> None:
    size = sum(path.stat().st_size for path in home.root.rglob(f"{OLD.stem}.parquet"))
    assert prune(home, keep=2, grace_s=0) == Pruned(kept=[2, 3], in_use=[], deleted=[1], files=5, bytes=size)
    assert files(home, OLD) == []
    assert [files(home, one) for one in (NEW, OTHER, WAITING)] == [EVERY] * 3
    assert (shown(home, 2), shown(home)) == (["2"], ["2", "3"])
    assert prune(home, keep=2, grace_s=0) == Pruned(kept=[2, 3], in_use=[], deleted=[], files=0, bytes=0)
    assert publish(home, VERSIONS).number == 4
    assert shown(home) == ["2", "3", "4"]


def test_the_current_snapshot_stays(home: Home) -> None:
    roll_back(home, 1)
    done = prune(home, keep=1, grace_s=0)
    assert (done.kept, done.deleted, done.files) == ([1, 3], [2], 0)
    assert (shown(home), shown(home, 3)) == (["1"], ["2", "3"])


def test_what_the_next_publish_would_show_stays(home: Home) -> None:
    add_run(home, OLD)  # the file of before was met again, and is not published yet
    assert prune(home, keep=1, grace_s=0).files == 0
    publish(home, VERSIONS)
    assert shown(home) == ["1", "3", "4"]


def test_a_snapshot_that_is_open_stays_with_its_files(home: Home) -> None:
    reader = (
        "import duckdb, sys\n"
        "with duckdb.connect(sys.argv[1], read_only=True) as connection:\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print(connection.execute('SELECT document_id FROM documents').fetchall())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reader, str(home.snapshot(1))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        done = prune(home, keep=1, grace_s=0)
        assert (done.kept, done.in_use, done.deleted) == ([1, 3], [1], [2])
        assert child.communicate("\n")[0] == "[('1',)]\n"
    assert prune(home, keep=1, grace_s=0).deleted == [1]
    assert files(home, OLD) == []


def test_a_snapshot_of_somebody_else_stays(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of a group one may rename the files of others, and not change them."""

    def forbidden(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(Path, "chmod", forbidden)
    done = prune(home, keep=1, grace_s=0)
    assert (done.kept, done.in_use, done.deleted) == ([1, 2, 3], [1, 2], [])
    assert files(home, OLD) == EVERY


def test_nothing_is_half_done_where_a_snapshot_cannot_be_read(home: Home) -> None:
    """Those below the damaged one were out of sight before it was read, and so for ever."""
    home.snapshot(2).chmod(0o644)
    home.snapshot(2).write_bytes(b"nothing")
    message = r"^nothing was pruned; e2emern doctor --repair sets 2\.duckdb aside, which cannot be read: .*2\.duckdb "
    with pytest.raises(WarehouseError, match=message):
        prune(home, keep=1, grace_s=0)
    assert sorted(path.name for path in home.snapshots.iterdir()) == ["1.duckdb", "2.duckdb", "3.duckdb"]
    examine(home, repair=True)
    assert prune(home, keep=1, grace_s=0).deleted == [1]


def test_what_was_current_a_moment_ago_stays(home: Home) -> None:
    done = prune(home, keep=1)
    assert (done.in_use, done.deleted) == ([1, 2], [])
    os.utime(home.snapshot(1), (1.6e9, 1.6e9))
    assert prune(home, keep=1).deleted == [1]


def test_killed_while_it_deletes(home: Home) -> None:
    """It dies with the snapshot out of sight and one of its files deleted; the next call deletes the others."""
    pruner = (
        "import os, signal, sys; from pathlib import Path\n"
        "from e2emern.warehouse.snapshots import prune as pruning; from e2emern.warehouse.layout import Home\n"
        "unlink = Path.unlink\n"
        "def dying(self):\n"
        "    unlink(self)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.unlink = dying\n"
        "pruning.prune(Home(Path(sys.argv[1])), keep=2, grace_s=0)"
    )
    killed = subprocess.run([sys.executable, "-c", pruner, str(home.root)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert files(home, OLD) == [one for one in EVERY if not one.startswith("mentions")]
    assert (shown(home, 2), shown(home)) == (["2"], ["2", "3"])
    assert prune(home, keep=2, grace_s=0).files == 4
    assert files(home, OLD) == []
    assert sorted(path.name for path in home.snapshots.iterdir()) == ["2.duckdb", "3.duckdb"]


def test_files_that_another_model_reads_stay(home: Home) -> None:
    other = home.mentions(OLD, Versions("small-2", MESH))
    other.parent.mkdir()
    other.write_bytes(home.mentions(OLD, VERSIONS).read_bytes())
    assert prune(home, keep=2, grace_s=0).files == 2
    assert files(home, OLD) == ["deletions", "documents", "failures", f"mentions/small-2@{MESH}"]


def test_merged_files_that_were_replaced_go(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 2)
    publish(home, VERSIONS)
    for number in (5, 6):
        source = key(f"d{number}.txt", str(number))
        add_source(home, source, [document(0, str(number))])
        add_run(home, source)
    assert publish(home, VERSIONS).number == 5
    merged = sorted((home.root / "compacted" / "documents").iterdir())
    assert len(merged) == 2
    prune(home, keep=1, grace_s=0)
    assert len(sorted((home.root / "compacted").rglob("*.parquet"))) == 5
    assert shown(home) == ["2", "3", "4", "5", "6"]
    assert files(home, WAITING) == EVERY


def test_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"^found 0 snapshots to keep, expected at least 1$"):
        prune(home, keep=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WarehouseError, match=r"empty has no snapshot yet; annotate something into it first$"):
        prune(Home(tmp_path / "empty"), keep=1)
    home.snapshot(2).chmod(0o644)
    home.snapshot(2).write_bytes(b"nothing")
    with pytest.raises(WarehouseError, match=r"2\.duckdb cannot be opened: "):
        prune(home, keep=2, grace_s=0)
    assert files(home, OLD) == EVERY
    assert home.snapshot(1).exists()
    assert duckdb.connect(str(home.warehouse), read_only=True).execute("SELECT number FROM snapshot").fetchall() == [
        (3,)
    ]
