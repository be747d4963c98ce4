"""The status of a home."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import Status, failures_in, status
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.runs import FLOW_RUN, begin_run, write_run
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key, mention


def invalid(kind: str) -> dict[str, str]:
    return {"position": "line 1", "kind": kind, "reason": "found 'a'"}


def test_missing_home(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"absent does not exist; annotate something into it first$"):
        status(Home(tmp_path / "absent"))


def test_home_without_snapshot(tmp_path: Path) -> None:
    home = Home(tmp_path)
    empty = Status(
        last_run=None,
        snapshot=None,
        champion=None,
        backlog=(),
        failures={},
        invalid_annotations={},
        damaged={},
        pending_corrections=(),
        parsers={},
    )
    assert status(home) == empty
    assert empty.linked_share == 0.0
    add_run(home, key("a"))
    last = add_run(home, key("b"))
    found = status(home).last_run
    assert found is not None
    assert found.run_id == last


def test_home_with_snapshot(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(
        home,
        key("a"),
        [document(0, "1") | {"invalid_annotations": [*[invalid("outside the text")] * 2, invalid("no type")]}],
        failures=[
            (1, "no PMID"),
            (2, "record of 5,000 characters"),
            (3, "no PMID"),
            (4, "found 'a' in line 4"),
            (5, "found 'b' in line 5"),
            (6, "found 'c' in line 6"),
        ],
        mentions=[mention(0, "1"), mention(0, "1", "D001241"), mention(0, "1", None), mention(0, "1", start=2)],
    )
    add_source(home, key("b"), error="truncated at byte 7")
    snapshot = publish(home, VERSIONS)
    found = status(home)
    assert found.snapshot == snapshot
    assert found.linked_share == 0.75
    assert list(found.failures.items()) == [
        ("found ... in line N", 3),
        ("no PMID", 2),
        ("record of 5,000 characters", 1),  # the only one of its kind, so its text is unchanged
    ]
    assert failures_in(home, ["a"]) == found.failures
    assert failures_in(home, ["b"]) == {}
    assert list(found.invalid_annotations.items()) == [("outside the text", 2), ("no type", 1)]
    assert found.damaged == {"b": "truncated at byte 7"}
    assert (snapshot.sources, snapshot.damaged, snapshot.documents, snapshot.concepts) == (2, 1, 1, 2)


def test_the_backlog_and_the_last_run(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(home, key("a.xml"), [document(0, "1")])
    night = add_run(home, key("a.xml"))
    batch = replace(begin_run(options={FLOW_RUN: "of another"}), run_id="99990101T000000Z")
    write_run(home, batch)
    publish(home, VERSIONS)
    home.dumps.mkdir()
    for name in ("a.xml", "b.xml", "b.xml.md5", ".ingest"):
        (home.dumps / name).touch()
    os.utime(home.dumps / "a.xml", (0, 0))
    found = status(home)
    assert found.last_run is not None
    assert (found.last_run.run_id, found.backlog, found.champion) == (night, ("b.xml",), None)
    os.utime(home.dumps / "a.xml", (2e9, 2e9))  # issued again
    assert status(home).backlog == ("a.xml", "b.xml")
