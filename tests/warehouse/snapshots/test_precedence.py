"""Which source outranks which, and what a snapshot shows of documents that were revised, deleted or issued again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.snapshots.precedence import precedence
from e2emern.warehouse.sources.history import History
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome
from tests.warehouse.homes import add_run, add_source, add_vocabulary, document, key, publish_it

FIRST, SECOND = key("pubmed21n0001.xml.gz", "1"), key("pubmed21n1000.xml.gz", "2")


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.execute(query).fetchall()


def run(run_id: str, *names: tuple[str, str]) -> RunRecord:
    sources = tuple(SourceOutcome(name=name, digest=digest * 16, outcome="annotated") for name, digest in names)
    return RunRecord(run_id=run_id, started="2026-01-01T00:00:00+00:00", host="h", sources=sources)


def seen_by(runs: list[RunRecord]) -> Callable[[SourceKey], tuple[str, str] | None]:
    return History(runs).seen


def test_pubmed_files_rank_by_name_whenever_they_came() -> None:
    names = ["pubmed21n1000.xml.gz", "pubmed22n0001.xml.gz", "updates/pubmed21n0999.xml.gz", "pubmed21n0001.xml.gz"]
    seen = seen_by([run(str(at), (name, "0")) for at, name in enumerate(names)])
    current, reissued = precedence([key(name) for name in names], seen)
    assert [one.name for one in current] == [
        "pubmed21n0001.xml.gz",
        "updates/pubmed21n0999.xml.gz",
        "pubmed21n1000.xml.gz",
        "pubmed22n0001.xml.gz",
    ]
    assert reissued == []


def test_other_files_rank_by_their_first_run_and_below_pubmed() -> None:
    seen = seen_by([run("1", ("z.txt", "0")), run("2", ("part10", "0"), ("part9", "0")), run("3", ("z.txt", "0"))])
    keys = [key("pubmed21n0001.xml"), key("part10"), key("part9"), key("z.txt"), key("unrecorded")]
    current, _ = precedence(keys, seen)
    assert [one.name for one in current] == ["unrecorded", "z.txt", "part9", "part10", "pubmed21n0001.xml"]


def test_of_one_name_the_content_met_last_is_current() -> None:
    a1, a2 = key("a", "1"), key("a", "2")
    assert precedence([a1, a2], seen_by([run("1", ("a", "1")), run("2", ("a", "2"))])) == ([a2], [a1])
    runs = [run("1", ("a", "1")), run("2", ("a", "2")), run("3", ("a", "1"))]
    assert precedence([a1, a2], seen_by(runs)) == ([a1], [a2])
    assert precedence([a1, a2], seen_by([run("1", ("a", "1"))])) == ([a1], [a2])


def test_a_later_file_supersedes_and_deletes(home: Home) -> None:
    add_source(home, FIRST, [document(0, "1"), document(1, "2"), document(2, "3", version=2), document(3, "3")])
    add_source(home, SECOND, [document(0, "2"), document(2, "4")], deletions=[(1, 1), (3, 4)])
    snapshot = publish_it(home)
    assert rows(home, "SELECT document_id, source, record FROM documents ORDER BY ALL") == [
        ("2", SECOND.name, 0),
        ("3", FIRST.name, 2),
    ]
    assert rows(home, "SELECT document_id, source FROM mentions ORDER BY ALL") == [
        ("2", SECOND.name),
        ("3", FIRST.name),
    ]
    assert rows(home, "FROM superseded") == [
        (FIRST.name, FIRST.digest, 0, "1", SECOND.name, SECOND.digest, "deleted"),
        (FIRST.name, FIRST.digest, 1, "2", SECOND.name, SECOND.digest, "revised"),
        (FIRST.name, FIRST.digest, 3, "3", FIRST.name, FIRST.digest, "revised"),
        (SECOND.name, SECOND.digest, 2, "4", SECOND.name, SECOND.digest, "deleted"),
    ]
    assert (snapshot.documents, snapshot.mentions, snapshot.superseded) == (2, 2, 4)


def test_a_version_is_revised_and_deleted_alone(home: Home) -> None:
    """PubMed shows the most recent valid version, whatever the order of the files."""
    third = key("pubmed21n1001.xml.gz", "3")
    add_source(home, FIRST, [document(0, "1", version=2), document(1, "2", version=2), document(2, "2")])
    add_source(home, SECOND, [document(0, "1"), document(1, "2")])
    publish_it(home)
    shown = "SELECT document_id, version, source FROM documents ORDER BY ALL"
    assert rows(home, shown) == [("1", 2, FIRST.name), ("2", 2, FIRST.name)]
    add_source(home, third, deletions=[(0, 2, 2), (1, 1, 1)])
    publish_it(home)
    assert rows(home, shown) == [("1", 2, FIRST.name), ("2", 1, SECOND.name)]
    assert rows(home, "SELECT source, record, by_source, reason FROM superseded ORDER BY ALL") == [
        (FIRST.name, 1, third.name, "deleted"),
        (FIRST.name, 2, SECOND.name, "revised"),
        (SECOND.name, 0, FIRST.name, "revised"),
    ]


def test_a_new_baseline_replaces_the_old_without_a_gap(home: Home) -> None:
    """File by file; what it leaves out stays, and what the old year deleted does not stay deleted."""
    first, second = key("pubmed22n0001.xml.gz", "3"), key("pubmed22n0002.xml.gz", "4")
    add_source(home, FIRST, [document(0, "1", version=3), document(1, "2"), document(2, "3"), document(3, "4")])
    add_source(home, SECOND, deletions=[(0, 3)])
    shown = "SELECT document_id, version, source FROM documents ORDER BY ALL"
    publish_it(home)
    assert rows(home, shown) == [("1", 3, FIRST.name), ("2", 1, FIRST.name), ("4", 1, FIRST.name)]
    add_source(home, first, [document(0, "1"), document(1, "1", version=2)])
    publish_it(home)
    assert rows(home, shown) == [("1", 2, first.name), ("2", 1, FIRST.name), ("4", 1, FIRST.name)]
    add_source(home, second, [document(0, "2"), document(1, "3")])
    publish_it(home)
    assert rows(home, shown) == [
        ("1", 2, first.name),
        ("2", 1, second.name),
        ("3", 1, second.name),
        ("4", 1, FIRST.name),
    ]
    assert rows(home, "SELECT document_id, by_source, reason FROM superseded ORDER BY ALL") == [
        ("1", first.name, "revised"),
        ("1", first.name, "revised"),
        ("2", second.name, "revised"),
        ("3", second.name, "revised"),
    ]


def test_a_document_may_come_back_after_its_deletion(home: Home) -> None:
    add_source(home, FIRST, [document(0, "1")])
    add_source(home, SECOND, [document(1, "1")], deletions=[(0, 1)])
    publish_it(home)
    assert rows(home, "SELECT source, record FROM documents") == [(SECOND.name, 1)]


def test_a_file_issued_again_replaces_its_former_self(home: Home) -> None:
    old, new = key("dump.txt", "1"), key("dump.txt", "2")
    add_source(home, old, [document(0, "1"), document(1, "2")], deletions=[(2, 3)])
    add_run(home, old)
    publish_it(home)
    add_source(home, new, [document(0, "2"), document(1, "3")])
    add_run(home, new)
    snapshot = publish_it(home)
    assert (snapshot.number, snapshot.sources, snapshot.documents, snapshot.deletions) == (2, 1, 2, 0)
    assert rows(home, "SELECT document_id, digest FROM documents ORDER BY ALL") == [("2", "2" * 16), ("3", "2" * 16)]
    assert rows(home, "FROM superseded") == [
        ("dump.txt", "1" * 16, 0, "1", "dump.txt", "2" * 16, "reissued"),
        ("dump.txt", "1" * 16, 1, "2", "dump.txt", "2" * 16, "reissued"),
    ]
    assert rows(home, "SELECT digest, rank, current FROM sources ORDER BY ALL") == [
        ("1" * 16, None, False),
        ("2" * 16, 0, True),
    ]
    add_run(home, old)  # and back
    assert publish_it(home).number == 3
    assert rows(home, "SELECT document_id, digest FROM documents ORDER BY ALL") == [("1", "1" * 16), ("2", "1" * 16)]


# One night: for each of three files, events in order of record: (kind, pmid, version).
ALL = 3  # for a deletion: of every version
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("document"), st.integers(1, 4), st.integers(1, 2)),
        st.tuples(st.just("document"), st.integers(1, 4), st.integers(1, 2)),
        st.tuples(st.just("deletion"), st.integers(1, 4), st.integers(1, ALL)),
    ),
    max_size=5,
)
NIGHTS = st.lists(
    st.dictionaries(
        st.sampled_from(["pubmed21n0002.xml", "pubmed21n0010.xml", "pubmed22n0001.xml", "b.txt", "a.txt"]),
        EVENTS,
        max_size=3,
    ),
    min_size=1,
    max_size=3,
).filter(lambda nights: any(nights))


def oracle(nights: list[dict[str, list[tuple[str, int, int]]]]) -> dict[int, tuple[str, int, int]]:
    """Returns, by PMID, the (source, night, record) of the valid document, by replaying files in order."""
    newest = {name: night for night, files in enumerate(nights) for name in files}
    # PubMed files by number; before them the others by the night their content came, then by name
    order = sorted(newest, key=lambda name: (name.startswith("pubmed"), name[0] != "p" and newest[name], name))
    standing: dict[int, dict[int, tuple[str, str, int, int]]] = {}  # by PMID and version
    for name in order:
        for record, (kind, pmid, version) in enumerate(nights[newest[name]][name]):
            versions = standing.setdefault(pmid, {})
            if kind == "deletion" and version == ALL:
                versions.clear()
            versions.pop(version, None)
            if kind == "document":
                year = name[6:8] if name.startswith("pubmed") else ""
                versions[version] = (year, name, newest[name], record)
    shown = {
        pmid: max((year, version, *origin) for version, (year, *origin) in versions.items())
        for pmid, versions in standing.items()
        if versions
    }
    return {pmid: (name, night, record) for pmid, (_, _, name, night, record) in shown.items()}


@settings(max_examples=10, deadline=None)
@given(NIGHTS)
def test_the_tables_equal_a_replay(nights: list[dict[str, list[tuple[str, int, int]]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        add_vocabulary(home)
        written = 0
        for night, files in enumerate(nights):
            keys: list[SourceKey] = []
            for name, events in files.items():
                keys.append(key(name, str(night)))
                numbered = list(enumerate(events))
                add_source(
                    home,
                    keys[-1],
                    [document(at, str(pmid), version=v) for at, (kind, pmid, v) in numbered if kind == "document"],
                    deletions=[
                        (at, pmid) if v == ALL else (at, pmid, v)
                        for at, (kind, pmid, v) in numbered
                        if kind == "deletion"
                    ],
                )
                written += sum(kind == "document" for kind, _, _ in events)
            if keys:
                add_run(home, *keys, run_id=f"run-{night}")
                publish_it(home)
        expected = sorted(
            (pmid, name, str(night) * 16, record) for pmid, (name, night, record) in oracle(nights).items()
        )
        for view in ("documents", "mentions"):
            assert rows(home, f"SELECT pmid, source, digest, record FROM {view} ORDER BY ALL") == expected
        assert rows(home, "SELECT count(*) FROM superseded") == [(written - len(expected),)]
        assert rows(home, "SELECT count(*) FROM (SELECT DISTINCT source, digest, record FROM superseded)") == [
            (written - len(expected),)
        ]
