"""The history of a document, through revisions, a deletion, a reissue, a second model and a rollback."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.queries.trace import Trace, trace
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.refs import roll_back
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome, write_run
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_source, add_vocabulary, document, key, mention

ONE, TWO, THREE = (key(f"pubmed26n000{number}.xml", str(number)) for number in (1, 2, 3))
NOTES, NOTES_AGAIN = key("notes.txt", "a"), key("notes.txt", "b")


def run_of(day: int) -> str:
    return f"202601{day:02}T000000.000000Z-00000000"


def ran(home: Home, day: int, *sources: SourceKey) -> None:
    met = tuple(SourceOutcome(name=one.name, digest=one.digest, outcome="annotated") for one in sources)
    when = datetime(2026, 1, day, tzinfo=UTC).isoformat()
    versions = {"e2emern": f"0.{day}", "model": MODEL, "mesh": MESH}
    write_run(
        home, RunRecord(run_id=run_of(day), started=when, finished=when, host="here", versions=versions, sources=met)
    )


INVALID = ((3, "outside the text"), (4, "no type"), (5, "outside the text"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Snapshot 1: 11 and a note; 2: 11 is revised, the note reissued; 3: 11 is withdrawn."""
    home = Home(tmp_path_factory.mktemp("trace"))
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11"), document(1, "12")], failures=[(2, "no PMID")])
    add_source(home, NOTES, [document(0, "n1")])
    ran(home, 1, ONE, NOTES)
    publish(home, VERSIONS)
    add_source(
        home,
        TWO,
        [document(0, "11", version=2) | {"title": "Better"}],
        mentions=[mention(0, "11"), mention(0, "11", start=3), mention(0, "11", "D001241", start=6)],
    )
    invalid = [{"position": f"line {line}", "kind": kind, "reason": "found 'a'"} for line, kind in INVALID]
    add_source(
        home,
        NOTES_AGAIN,
        [document(0, "n1") | {"invalid_annotations": invalid}, document(1, "n2")],
        unread=[(1, "model: too long")],
    )
    ran(home, 2, TWO, NOTES_AGAIN)
    publish(home, VERSIONS)
    add_source(home, THREE, [], deletions=[(0, 11)])
    ran(home, 3, THREE)
    publish(home, VERSIONS)
    return home


def standings(found: Trace) -> list[tuple[str, str, str | None]]:
    return [(one.origin.source, one.standing, one.by_source) for one in found.revisions]


def appearances(found: Trace) -> list[tuple[int, int, str, str | None]]:
    return [(one.first, one.last, one.standing, one.source) for one in found.appearances]


def test_a_document_revised_and_withdrawn(home: Home) -> None:
    found = trace(home, "11")
    assert standings(found) == [(ONE.name, "revised", TWO.name), (TWO.name, "deleted", THREE.name)]
    assert appearances(found) == [(1, 1, "shown", ONE.name), (2, 2, "shown", TWO.name), (3, 3, "deleted", None)]
    assert (found.shown, found.annotated) == (None, ())
    (withdrawal,) = found.withdrawals
    assert (withdrawal.source, withdrawal.digest, withdrawal.record) == (THREE.name, THREE.digest, 0)
    second = found.revisions[1]
    digest = hashlib.sha256(b"0\tA tAtlA\n").hexdigest()
    assert (second.version, second.title, second.published, second.text_sha256) == (2, "Better", "2021", digest)
    origin = second.origin
    assert (origin.run_id, origin.taken_in, origin.software) == (run_of(2), datetime(2026, 1, 2, tzinfo=UTC), "0.2")


def test_a_document_that_is_shown(home: Home) -> None:
    found = trace(home, "12")
    assert standings(found) == [(ONE.name, "shown", None)]
    assert appearances(found) == [(1, 3, "shown", ONE.name)]
    assert [(one.model_version, one.mesh_version, one.run_id) for one in found.annotated] == [(MODEL, MESH, run_of(1))]
    assert [(one.mentions, one.linked, one.concepts) for one in found.annotated] == [(1, 1, ("D001943",))]


def test_a_source_issued_again(home: Home) -> None:
    found = trace(home, "n1")
    assert standings(found) == [(NOTES.name, "reissued", NOTES.name), (NOTES.name, "shown", None)]
    assert [one.origin.digest for one in found.revisions] == [NOTES.digest, NOTES_AGAIN.digest]
    assert [(one.first, one.last, one.digest) for one in found.appearances] == [
        (1, 1, NOTES.digest),
        (2, 3, NOTES_AGAIN.digest),
    ]
    assert [(one.first, one.last, one.standing) for one in trace(home, "n2").appearances] == [
        (1, 1, "absent"),
        (2, 3, "shown"),
    ]


def test_the_text_and_the_mentions_are_those_of_the_revision_that_is_shown(home: Home) -> None:
    found = trace(home, "n1")
    assert found.passages == ({"section": "title", "offset": 0, "text": "A title"},)
    assert [(one["start"], one["end"], one["text"], one["mesh_id"], one["ner_score"]) for one in found.mentions] == [
        (0, 1, "A", "D001943", 0.5)
    ]
    assert (trace(home, "11").passages, trace(home, "11").mentions) == ((), ())


def test_invalid_annotations_are_counted_by_kind_with_the_first_of_each(home: Home) -> None:
    assert trace(home, "n1").invalid_annotations == (
        {"kind": "outside the text", "annotations": 2, "position": "line 3", "reason": "found 'a'"},
        {"kind": "no type", "annotations": 1, "position": "line 4", "reason": "found 'a'"},
    )
    assert trace(home, "n2").invalid_annotations == ()


def test_json(home: Home) -> None:
    found = json.loads(trace(home, "12").to_json())
    lists = [
        "passages",
        "mentions",
        "invalid_annotations",
        "revisions",
        "withdrawals",
        "annotated",
        "appearances",
        "failures",
    ]
    assert list(found) == ["document_id", *lists]
    assert found["revisions"][0]["origin"] == {
        "source": ONE.name,
        "digest": ONE.digest,
        "record": 1,
        "run_id": run_of(1),
        "taken_in": "2026-01-01T00:00:00+00:00",
        "software": "0.1",
    }


@pytest.mark.parametrize("document_id", ["999", "", "x'; DROP", "12 "])
def test_an_unknown_document(home: Home, document_id: str) -> None:
    with pytest.raises(WarehouseError, match=r"has no document .*; give a PMID or the source's own id$"):
        trace(home, document_id)


def test_unpublished_work_failures_and_a_rollback(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11")])
    ran(home, 1, ONE)
    publish(home, VERSIONS)
    add_source(home, TWO, [document(0, "11", version=2)])
    ran(home, 2, TWO)
    assert standings(trace(home, "11")) == [(ONE.name, "shown", None), (TWO.name, "unpublished", None)]
    publish(home, VERSIONS)
    roll_back(home)
    found = trace(home, "11")
    assert standings(found) == [(ONE.name, "shown", None), (TWO.name, "unpublished", None)]
    assert appearances(found) == [(1, 1, "shown", ONE.name), (2, 2, "shown", TWO.name)]


def test_merged_files_are_read_in_place_of_those_of_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 2)
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11")], unread=[(0, "too long")])
    add_source(home, TWO, [document(0, "11", version=2)], deletions=[(1, 12)])
    publish(home, VERSIONS)
    for source in (ONE, TWO):
        for path in (home.documents(source), home.deletions(source), home.unread(source, VERSIONS)):
            path.write_bytes(b"not Parquet")
    add_source(home, THREE, [document(0, "11", version=3)], deletions=[(1, 12)])
    assert standings(trace(home, "11")) == [
        (ONE.name, "revised", TWO.name),
        (TWO.name, "shown", None),
        (THREE.name, "unpublished", None),
    ]
    assert [one.source for one in trace(home, "12").withdrawals] == [TWO.name, THREE.name]


def test_failures_about_a_document(tmp_path: Path) -> None:
    from e2emern.warehouse.parquet import TableWriter
    from e2emern.warehouse.schemas import FAILURES

    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11")])
    with TableWriter(home.failures(TWO), FAILURES) as writer:
        writer.append(
            [
                {
                    "source": TWO.name,
                    "digest": TWO.digest,
                    "record": 5,
                    "document_id": "11",
                    "position": "line 7",
                    "reason": "too long",
                }
            ]
        )
    publish(home, VERSIONS)
    (failed,) = trace(home, "11").failures
    assert (failed.reason, failed.position, failed.origin.source) == ("too long", "line 7", TWO.name)
    home.failures(TWO).write_bytes(b"PAR1 and no more")
    with pytest.raises(WarehouseError, match=r"cannot be read; `e2emern doctor` may know why: "):
        trace(home, "11")
