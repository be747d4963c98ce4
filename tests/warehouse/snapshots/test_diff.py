"""The list of snapshots, and the difference between two."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.snapshots.diff import Change, ChangedConcept, ChangedDocument, difference, list_snapshots
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.refs import current_number, roll_back
from tests.warehouse.homes import MESH, VERSIONS, add_run, add_source, add_vocabulary, document, key, mention


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two snapshots: the second file revises 1 (same text) and 2 (another), withdraws 3, and brings 4."""
    home = Home(tmp_path)
    add_vocabulary(home)
    first, second = key("pubmed21n0001.xml"), key("pubmed21n0002.xml")
    documents = [document(0, "1"), document(1, "2"), document(2, "3"), document(3, "9")]
    concepts = ["D001943", "D001943", "D001241", None]
    add_source(
        home,
        first,
        documents,
        mentions=[
            mention(row["record"], row["document_id"], one) for row, one in zip(documents, concepts, strict=True)
        ],
    )
    add_run(home, first)
    publish(home, VERSIONS)
    revised = [
        document(0, "1"),
        document(1, "2", text="Another title"),
        document(3, "4", text="New"),
    ]
    add_source(
        home,
        second,
        revised,
        deletions=[(2, 3)],
        mentions=[
            mention(0, "1", "D001943"),
            mention(1, "2", "D001943"),
            mention(3, "4", "D001943"),
            mention(3, "4", "C562840"),
        ],
    )
    add_run(home, second)
    publish(home, VERSIONS)
    return home


def test_difference(home: Home) -> None:
    found = difference(home, 1, 2)
    assert (found.before.number, found.after.number) == (1, 2)
    assert found.documents == Change(
        gained=1,
        lost=1,
        changed=1,
        examples={
            "gained": [ChangedDocument(document_id="4", title="New")],
            "lost": [ChangedDocument(document_id="3", title="A title")],
            "changed": [ChangedDocument(document_id="2", title="Another title")],
        },
    )
    assert found.concepts == Change(
        gained=1,
        lost=1,
        changed=1,
        examples={
            "gained": [ChangedConcept(mesh_id="C562840", mesh_name=None, was=0, is_now=1)],
            "lost": [ChangedConcept(mesh_id="D001241", mesh_name=None, was=1, is_now=0)],
            "changed": [ChangedConcept(mesh_id="D001943", mesh_name=None, was=2, is_now=3)],
        },
    )


def test_difference_backwards_and_to_itself(home: Home) -> None:
    back = difference(home, 2, 1)
    assert back.documents.examples["gained"] == [ChangedDocument(document_id="3", title="A title")]
    assert back.documents.examples["changed"] == [ChangedDocument(document_id="2", title="A title")]
    same = difference(home, 2, 2)
    assert same.documents == same.concepts == Change(examples={})


def test_difference_with_what_is_not_there(home: Home) -> None:
    with pytest.raises(WarehouseError, match=r"has no snapshot 8; found 1, 2$"):
        difference(home, 8, 1)
    home.documents(key("pubmed21n0001.xml")).unlink()
    with pytest.raises(WarehouseError, match=r"^snapshots 1 and 2 cannot be compared: .*No files found") as caught:
        difference(home, 1, 2)
    assert "\n" not in str(caught.value)


def test_list(home: Home, tmp_path: Path) -> None:
    def states() -> list[tuple[int, str]]:
        return [(one.snapshot.number, one.state) for one in list_snapshots(home)]

    assert states() == [(2, "current"), (1, "earlier")]
    roll_back(home)
    assert states() == [(2, "withdrawn"), (1, "current")]
    publish(home, VERSIONS, accept="all is well")
    assert states() == [(3, "current"), (2, "withdrawn"), (1, "earlier")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(WarehouseError, match=r"empty has no snapshot yet; annotate something into it first$"):
        list_snapshots(Home(tmp_path / "empty"))


def test_a_snapshot_that_is_not_current_is_compared_then_shown_and_left_again(tmp_path: Path) -> None:
    """An upgrade: another model has annotated everything; a night continues meanwhile with the model of the tables."""
    home = Home(tmp_path)
    add_vocabulary(home)
    first, second = key("pubmed21n0001.xml"), key("pubmed21n0002.xml")
    for model, found in ((VERSIONS.model, None), ("other", "D001241")):
        add_source(home, first, [document(0, "1")], mentions=[mention(0, "1", found)], model=model)
    add_run(home, first)
    publish(home, VERSIONS)
    new = publish(home, Versions("other", MESH), make_current=False)
    assert (new.number, new.previous, current_number(home)) == (2, 1, 1)
    compared = difference(home, 1, 2)
    assert (compared.before.model_version, compared.after.model_version) == (VERSIONS.model, "other")
    assert (compared.documents.gained, compared.documents.lost, compared.concepts.gained) == (0, 0, 1)
    assert states(home) == {2: "never current", 1: "current"}

    add_source(home, second, [document(0, "11")])
    add_run(home, second)
    assert publish(home, VERSIONS).number == 3
    assert states(home) == {3: "current", 2: "never current", 1: "earlier"}
    roll_back(home, 2, why="the other model")
    assert states(home)[2] == "current"
    roll_back(home, 3)
    assert states(home)[3] == "current"
    assert examine(home) == []


def states(home: Home) -> dict[int, str]:
    return {one.snapshot.number: one.state for one in list_snapshots(home)}
