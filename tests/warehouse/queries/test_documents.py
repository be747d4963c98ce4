"""Rows of the current snapshot stream back, each document with its mentions, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.documents import annotated_rows
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key, mention


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two sources: a later one with a name that a file pattern would misread, and one that revises and deletes."""
    home = Home(tmp_path)
    add_vocabulary(home)
    first, second = key("pubmed26n0001.xml.gz", "a"), key("pubmed26n0002 [new]*.xml", "b")
    composite = mention(1, "12", "D001943") | {"link_score": 0.25}, mention(1, "12", "D009369") | {"link_score": 0.5}
    add_source(
        home,
        first,
        [document(0, "11"), document(1, "12"), document(2, "13"), document(3, "14")],
        mentions=[mention(1, "12", "D001241", start=3), *composite, mention(2, "13")],
    )
    add_source(home, second, [document(0, "11", text="Anew"), document(1, "15")], deletions=[(2, 13)])
    add_run(home, first, second)
    return home


def test_documents_come_with_their_mentions_by_source_and_record(home: Home) -> None:
    publish(home, VERSIONS)
    assert [
        (row["source"], row["record"], row["title"], [(each["start"], each["mesh_id"]) for each in row["mentions"]])
        for row in annotated_rows(home)
    ] == [
        ("pubmed26n0001.xml.gz", 1, "A title", [(0, "D009369"), (0, "D001943"), (3, "D001241")]),
        ("pubmed26n0001.xml.gz", 3, "A title", []),
        ("pubmed26n0002 [new]*.xml", 0, "Anew", [(0, "D001943")]),
        ("pubmed26n0002 [new]*.xml", 1, "A title", [(0, "D001943")]),
    ]


def test_a_home_without_a_snapshot_is_an_error(home: Home) -> None:
    with pytest.raises(WarehouseError, match="has no snapshot yet"):
        next(annotated_rows(home))


def test_a_missing_file_is_an_error_that_names_it(home: Home) -> None:
    publish(home, VERSIONS)
    gone = home.documents(key("pubmed26n0001.xml.gz", "a"))
    gone.unlink()
    with pytest.raises(WarehouseError, match=f"{gone} cannot be read: "):
        next(annotated_rows(home))
