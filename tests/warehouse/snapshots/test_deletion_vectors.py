"""What the views read of their files: all of one without superseded rows, nothing of one without others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import Snapshot
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key, mention

FIRST, SECOND, THIRD = (key(f"pubmed21n{number:04d}.xml") for number in (1, 2, 3))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "a home [1]*")
    add_vocabulary(home)
    return home


def add(home: Home, source: SourceKey, ids: Sequence[int], *, each: int = 3, deletions: Sequence[int] = ()) -> None:
    """A source of these documents, with so many mentions each."""
    documents = [document(record, str(number), text=source.name) for record, number in enumerate(ids)]
    mentions = [mention(row["record"], row["document_id"], start=at) for row in documents for at in range(each)]
    withdrawn = [(len(ids) + place, pmid) for place, pmid in enumerate(deletions)]
    add_source(home, source, documents, mentions=mentions, deletions=withdrawn)
    add_run(home, source)


def publish_it(home: Home) -> Snapshot:
    return publish(home, VERSIONS)


def ask(home: Home, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def shown(home: Home, view: str) -> dict[str, list[int]]:
    """The ids shown of each source, each once."""
    found: dict[str, list[int]] = {}
    for source, number in ask(home, f"SELECT DISTINCT source, pmid FROM {view} ORDER BY ALL"):
        found.setdefault(source, []).append(number)
    return found


def read(home: Home, view: str) -> list[str]:
    """The sources whose files a view names, in its order."""
    ((sql,),) = ask(home, f"SELECT sql FROM duckdb_views() WHERE view_name = '{view}'")
    return sorted(
        (one.name for one in (FIRST, SECOND, THIRD) if f"/{one.stem}." in sql), key=lambda name: sql.index(name)
    )


def hidden(home: Home, view: str) -> list[tuple[int, int]]:
    return [(file, place) for file, place in ask(home, f"SELECT file, place FROM hidden WHERE view = '{view}'")]


def test_the_rest_of_a_partly_superseded_file_is_shown(home: Home) -> None:
    add(home, FIRST, range(1, 8))
    add(home, SECOND, range(11, 13))
    add(home, THIRD, [1, 3, 12], deletions=[7])
    snapshot = publish_it(home)
    assert hidden(home, "documents") == hidden(home, "mentions") == [(0, 0), (0, 2), (0, 6), (1, 1)]
    for view in ("documents", "mentions"):
        assert shown(home, view) == {FIRST.name: [2, 4, 5, 6], SECOND.name: [11], THIRD.name: [1, 3, 12]}
        assert read(home, view) == [FIRST.name, SECOND.name, THIRD.name]
    assert (snapshot.documents, snapshot.mentions) == (8, 24)
    assert ask(home, "SELECT count(*) FROM mentions WHERE pmid = 1") == [(3,)]
    assert ask(home, "SELECT count(*) FROM mentions WHERE pmid IN (2, 7) AND start > 0") == [(2,)]


def test_a_completely_superseded_file_is_not_read(home: Home) -> None:
    add(home, FIRST, [1, 2])
    add(home, SECOND, [3, 4])
    add(home, THIRD, [2, 1, 5])
    publish_it(home)
    assert read(home, "documents") == read(home, "mentions") == [SECOND.name, THIRD.name]
    assert shown(home, "mentions") == {SECOND.name: [3, 4], THIRD.name: [1, 2, 5]}
    assert hidden(home, "mentions") == []
    assert ask(home, "SELECT DISTINCT source FROM files WHERE view = 'mentions' ORDER BY ALL") == [
        (FIRST.name,),
        (SECOND.name,),
        (THIRD.name,),
    ]


def test_when_nothing_is_left_the_views_are_empty(home: Home) -> None:
    add(home, FIRST, [1], deletions=[1])
    publish_it(home)
    assert ask(home, "SELECT count(*), any_value(title) FROM documents") == [(0, None)]
    assert ask(home, "SELECT count(*), sum(start) FROM mentions") == [(0, None)]


def test_in_merged_files_a_place_is_a_record_of_one_source(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 2)
    add(home, FIRST, [1, 2])
    add(home, SECOND, [3, 2, 4])
    publish_it(home)
    of_first, of_second = 1 << 32, 2 << 32
    for view in ("documents", "mentions"):
        assert hidden(home, view) == [(0, of_first + 1)]
        assert shown(home, view) == {FIRST.name: [1], SECOND.name: [2, 3, 4]}
    add(home, THIRD, [4, 1])
    publish_it(home)
    for view in ("documents", "mentions"):
        assert hidden(home, view) == [(0, of_first), (0, of_first + 1), (0, of_second + 2)]
        assert shown(home, view) == {SECOND.name: [2, 3], THIRD.name: [1, 4]}


def test_merged_files_are_merged_again_with_others(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources have other numbers in the new file than in the old."""
    monkeypatch.setattr(compaction, "LOOSE", 2)
    add(home, SECOND, [3, 2, 4])
    add(home, THIRD, [4, 1])
    publish_it(home)
    add(home, FIRST, [1, 2])
    add(home, key("pubmed21n0004.xml"), [5, 3])
    publish_it(home)
    for view in ("documents", "mentions"):
        assert len(ask(home, f"SELECT DISTINCT path FROM files WHERE view = '{view}'")) == 1
        assert shown(home, view) == {SECOND.name: [2], THIRD.name: [1, 4], "pubmed21n0004.xml": [3, 5]}
    for path in (home.root / "compacted").rglob("*.parquet"):
        path.unlink()
    assert publish_it(home).unchanged
    assert shown(home, "mentions") == {SECOND.name: [2], THIRD.name: [1, 4], "pubmed21n0004.xml": [3, 5]}


def test_documents_missing_from_a_reissued_source_are_shown_again(home: Home) -> None:
    add(home, FIRST, [1, 2])
    add(home, SECOND, [2])
    publish_it(home)
    add(home, key(SECOND.name, "9"), [3])
    publish_it(home)
    assert shown(home, "mentions") == {FIRST.name: [1, 2], SECOND.name: [3]}
    assert hidden(home, "mentions") == []


def test_in_a_file_that_is_made_again_with_other_mentions_the_same_documents_are_hidden(home: Home) -> None:
    """As after a repair by the doctor on another machine, on which the model finds other mentions."""
    add(home, FIRST, [1, 2, 3])
    add(home, SECOND, [2])
    publish_it(home)
    add(home, FIRST, [1, 2, 3], each=1)
    assert ask(home, "SELECT pmid, count(*) FROM mentions GROUP BY ALL ORDER BY ALL") == [(1, 1), (2, 3), (3, 1)]


def test_as_many_documents_as_a_year_revises_are_hidden(home: Home) -> None:
    """More than a row group of DuckDB's, 122,880 rows."""
    ids = range(1, 125_001)
    add(home, FIRST, [*ids, 200_000], each=0)
    add(home, SECOND, ids, each=0)
    snapshot = publish_it(home)
    assert (snapshot.superseded, snapshot.documents) == (125_000, 125_001)
    assert ask(home, "SELECT source, count(*) FROM documents GROUP BY ALL ORDER BY ALL") == [
        (FIRST.name, 1),
        (SECOND.name, 125_000),
    ]


def test_an_earlier_snapshot_hides_what_it_hid(home: Home) -> None:
    add(home, FIRST, [1, 2])
    publish_it(home)
    add(home, SECOND, [2])
    publish_it(home)
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        connection.execute(f"ATTACH '{home.snapshot(1)}' AS earlier (READ_ONLY)")
        assert connection.execute("SELECT source, count(*) FROM earlier.mentions GROUP BY ALL").fetchall() == [
            (FIRST.name, 6)
        ]
        assert connection.execute("SELECT source, count(*) FROM mentions GROUP BY ALL ORDER BY ALL").fetchall() == [
            (FIRST.name, 3),
            (SECOND.name, 3),
        ]
