"""Merging: which sources, that the tables stay the same, and that nothing depends on the merged files."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2emern.warehouse import parquet
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.queries.documents import annotated_rows
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.compaction import FULL, SMALL, Group, plan
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import Snapshot, current_snapshot, open_snapshot
from e2emern.warehouse.snapshots.refs import roll_back
from tests.warehouse.homes import MESH, VERSIONS, add_run, add_source, add_vocabulary, document, key, publish_it

ROOT = Path(__file__).resolve().parents[3]
ALL_SQL = {
    "documents": "SELECT source, digest, record, document_id, title FROM documents ORDER BY ALL",
    "mentions": "SELECT source, digest, record, document_id, mesh_id FROM mentions ORDER BY ALL",
    "failures": "SELECT source, digest, record, reason FROM failures ORDER BY ALL",
    "deletions": "SELECT source, digest, record, pmid FROM deletions ORDER BY ALL",
    "superseded": "FROM superseded ORDER BY ALL",
}


def keys(*numbers: int) -> tuple[SourceKey, ...]:
    return tuple(key(f"pubmed21n{number:04d}.xml") for number in numbers)


def members(groups: list[Group]) -> list[tuple[SourceKey, ...]]:
    return [group.keys for group in groups]


def test_few_sources_are_not_merged() -> None:
    assert plan("mentions", dict.fromkeys(keys(*range(63)), 1)) == []
    assert members(plan("mentions", dict.fromkeys(keys(*range(64)), 1))) == [keys(*range(64))]


def test_big_sources_are_not_merged() -> None:
    sizes = dict.fromkeys(keys(*range(70)), 1) | dict.fromkeys(keys(5, 6), SMALL)
    assert members(plan("mentions", sizes)) == [keys(*(n for n in range(70) if n not in (5, 6)))]


def test_a_full_group_is_left_alone_and_the_last_one_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 3)
    size = FULL // 10
    monkeypatch.setattr(compaction, "SMALL", size + 1)
    first = plan("mentions", dict.fromkeys(keys(*range(15)), size))
    assert members(first) == [keys(*range(11)), keys(*range(11, 15))]
    assert plan("mentions", dict.fromkeys(keys(*range(17)), size), existing=first) == first
    grown = plan("mentions", dict.fromkeys(keys(*range(18)), size), existing=first)
    assert grown[0] is first[0]
    assert members(grown) == [keys(*range(11)), keys(*range(11, 18))]
    assert len({group.name for group in (*first, *grown)}) == 3


def all_rows(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    with open_snapshot(home) as connection:
        return {name: connection.execute(sql).fetchall() for name, sql in ALL_SQL.items()}


def nights(home: Home, numbers: range) -> Snapshot:
    """A source a night, which revises document 1, brings one more, withdraws one and has a failure; then a snapshot."""
    for number, source in zip(numbers, keys(*numbers), strict=True):
        add_source(
            home,
            source,
            [document(0, "1", text=f"night {number}"), document(1, str(number + 100))],
            deletions=[(2, number + 98)],
            failures=[(3, "no PMID")],
        )
        add_run(home, source)
    return publish(home, VERSIONS)


def named(home: Home) -> dict[str, int]:
    with open_snapshot(home) as connection:
        sql = "SELECT view, count(DISTINCT path) FROM files WHERE view IS NOT NULL GROUP BY ALL ORDER BY ALL"
        return dict(connection.execute(sql).fetchall())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(compaction, "LOOSE", 4)
    home = Home(tmp_path)
    add_vocabulary(home)
    return home


def test_the_tables_are_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 100)
    nights(home, range(8))
    loose, documents = all_rows(home), list(annotated_rows(home))
    assert named(home)["documents"] == 8
    monkeypatch.setattr(compaction, "LOOSE", 4)
    nights(home, range(8, 9))
    assert named(home) == {
        "deletions": 1,
        "documents": 1,
        "entities": 1,
        "entity_tree": 1,
        "failures": 2,
        "mentions": 1,
    }
    merged = all_rows(home)
    assert [row for row in merged["failures"] if row[0] != "pubmed21n0008.xml"] == loose["failures"]
    assert [row[4] for row in merged["documents"] if row[3] == "1"] == ["night 8"]
    assert [row["document_id"] for row in annotated_rows(home)] == [
        *(row["document_id"] for row in documents if row["document_id"] not in ("1", "106")),
        "1",
        "108",
    ]
    with open_snapshot(home, 1) as connection:  # the snapshot before reads what it read
        assert connection.execute(ALL_SQL["documents"]).fetchall() == loose["documents"]


def test_a_source_issued_again_leaves_its_group(home: Home) -> None:
    nights(home, range(6))
    again = key("pubmed21n0002.xml", "7")
    add_source(home, again, [document(0, "500")])
    add_run(home, again)
    publish(home, VERSIONS)
    rows = all_rows(home)
    assert ("pubmed21n0002.xml", "7" * 16, 0, "500", "A title") in rows["documents"]
    assert [row for row in rows["deletions"] if row[0] == "pubmed21n0002.xml"] == []
    assert [row[:4] for row in rows["superseded"] if row[-1] == "reissued"] == [
        ("pubmed21n0002.xml", "0" * 16, 0, "1"),
        ("pubmed21n0002.xml", "0" * 16, 1, "102"),
    ]


def test_missing_merged_files_are_written_again(home: Home) -> None:
    nights(home, range(4, 8))
    nights(home, range(4))  # older, and merged after the others
    assert named(home)["documents"] == 1
    rows = all_rows(home)
    merged = {path: path.read_bytes() for path in (home.root / "compacted").rglob("*.parquet")}
    for path in merged:
        path.unlink()
    assert publish(home, VERSIONS).unchanged
    assert all_rows(home) == rows
    made = {path: path.read_bytes() for path in (home.root / "compacted").rglob("*.parquet")}
    assert len(made) == 5
    assert made.items() <= merged.items()


def test_killed_while_it_merges(home: Home) -> None:
    """It dies with some of the merged files written, and one begun."""
    nights(home, range(3))
    rows = all_rows(home)
    source = key("pubmed21n0003.xml")
    add_source(home, source, [document(0, "1", text="night 3")])
    add_run(home, source)
    publisher = (
        "import os, signal, sys; from pathlib import Path\n"
        "from e2emern.warehouse.snapshots import compaction, publish as snapshot\n"
        "from e2emern.warehouse.layout import Home, Versions\n"
        "compaction.LOOSE = 4\n"
        "append, calls = compaction.TableWriter.append, []\n"
        "def dying(self, rows):\n"
        "    calls.append(rows)\n"
        "    return append(self, rows) if len(calls) < 10 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "compaction.TableWriter.append = dying\n"
        "snapshot.publish(Home(Path(sys.argv[1])), Versions('small-1', '2024'))"
    )
    killed = subprocess.run([sys.executable, "-c", publisher, str(home.root)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert list((home.root / "compacted").rglob("*.parquet"))
    assert all_rows(home) == rows
    publish(home, VERSIONS)
    assert named(home)["documents"] == 1
    assert [row[4] for row in all_rows(home)["documents"] if row[3] == "1"] == ["night 3"]


def test_merged_files_of_another_model_are_not_reused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model found nothing in a source; after a rollback and a repair, the source is annotated again."""
    monkeypatch.setattr(compaction, "LOOSE", 3)
    sources = keys(1, 2, 3)
    for number, one in enumerate(sources):
        add_source(home, one, [document(0, str(number))])
        add_source(home, one, [document(0, str(number))], model="other", mentions=[] if number == 1 else None)
    publish(home, VERSIONS)
    assert publish(home, Versions("other", MESH)).mentions == 2
    roll_back(home, 1)
    home.mentions(sources[1], Versions("other", MESH)).unlink()
    add_source(home, sources[1], [document(0, "1")], model="other")
    assert publish(home, Versions("other", MESH), accept="repaired").mentions == 3


def test_a_file_that_was_damaged_since_it_was_published_is_named(home: Home) -> None:
    sources = keys(1, 2, 3, 4)
    for number, one in enumerate(sources[:2]):
        add_source(home, one, [document(0, str(number))])
    shown = publish_it(home)
    damaged = home.documents(sources[0])
    content = bytearray(damaged.read_bytes())
    content[10:60] = bytes(50)
    damaged.write_bytes(content)
    for number, one in enumerate(sources[2:], 2):
        add_source(home, one, [document(0, str(number))])
    reason = r"differs from what was published; see e2emern doctor \(damaged-file\)"
    with pytest.raises(WarehouseError, match=rf"^{re.escape(str(damaged))} {reason}$"):
        publish_it(home)
    assert current_snapshot(home) == shown


def test_a_merged_source_that_is_damaged_is_named_and_not_merged_again(home: Home) -> None:
    """As after a restore from a backup, which has no merged files."""
    nights(home, range(4))
    rows = all_rows(home)
    sql = "SELECT source, rows FROM files WHERE view IS NULL AND starts_with(path, 'documents/') ORDER BY source"
    with open_snapshot(home) as connection:
        assert connection.execute(sql).fetchall() == [(one.name, 2) for one in keys(0, 1, 2, 3)]
    damaged = home.documents(keys(2)[0])
    content = damaged.read_bytes()
    flip(damaged, 40)
    assert publish_it(home).unchanged  # what the views read is sound
    assert [(one.code, home.root / one.path) for one in examine(home)] == [("damaged-file", damaged)]
    for path in (home.root / "compacted").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(WarehouseError, match=rf"^{re.escape(str(damaged))} differs from what was published; see"):
        publish_it(home)
    assert {one.code for one in examine(home) if home.root / one.path == damaged} == {"damaged-file"}
    damaged.write_bytes(content)
    assert publish_it(home).unchanged
    assert all_rows(home) == rows
    assert examine(home) == []


def test_merged_files_that_come_out_differently_are_recorded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from another version of Arrow: otherwise, each repair would remove them, and each publish write them again."""
    first = nights(home, range(4))
    rows = all_rows(home)
    for path in (home.root / "compacted").rglob("*.parquet"):
        path.unlink()
    monkeypatch.setattr(parquet, "_COMPRESSION", "gzip")
    second = publish_it(home)
    assert (second.number, second.unchanged) == (first.number + 1, False)
    assert all_rows(home) == rows
    assert [one.code for one in examine(home)] == []
    assert publish_it(home).unchanged


def test_a_repair_merges_the_files_of_an_earlier_snapshot_again(home: Home) -> None:
    """No publish writes them: it merges only what its own snapshot reads."""
    nights(home, range(4))
    earlier = {path: path.read_bytes() for path in (home.root / "compacted").rglob("*.parquet")}
    rows = all_rows(home)
    nights(home, range(4, 8))
    flipped, cut, lost, _, behind = sorted(earlier)
    flip(flipped, 40)
    cut.write_bytes(b"PAR1")
    lost.unlink()
    behind.unlink()
    source = home.root / behind.parent.relative_to(home.root / "compacted") / f"{keys(2)[0].stem}.parquet"
    sound = source.read_bytes()
    flip(source, 40)
    found = {home.root / one.path: (one.code, one.repaired) for one in examine(home, repair=True)}
    assert found.pop(source) == ("damaged-file", "moved to quarantine; annotate its source again")
    assert found == {
        flipped: ("damaged-file", "merged again"),
        cut: ("damaged-file", "merged again"),
        lost: ("missing-file", "merged again"),
        behind: ("missing-file", None),
    }
    assert [path.relative_to(home.quarantine) for path in home.quarantine.rglob("*.parquet")] == [
        source.relative_to(home.root)
    ]
    again = [(home.root / one.path, one.code, one.repaired) for one in examine(home, repair=True)]
    assert again == [(behind, "missing-file", None), (source, "missing-file", None)]
    source.write_bytes(sound)
    assert [one.repaired for one in examine(home, repair=True)] == ["merged again", "deleted"]
    assert {path: path.read_bytes() for path in earlier} == earlier
    assert examine(home) == []
    roll_back(home, 1)
    assert all_rows(home) == rows


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
