"""Changes between versions of MeSH, and the mentions that they affect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.changes import MeshChanges, mesh_changes
from e2emern.warehouse.mesh.entities import entities_path, write_entities
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import MESH, VERSIONS, add_run, add_source, add_vocabulary, document, key, mention

SOURCE = key("one")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with six mentions, linked to version 2024, and a version 2025 of its vocabulary."""
    home = Home(tmp_path)
    add_vocabulary(home)
    spans = [
        (0, "D001943", "breast cancer"),
        (1, "C562840", "familial breast cancer"),
        (2, "D009371", "site tumour"),
        (3, "OMIM:114480", "cancer of the breast"),
        (4, None, "Carcinoma"),
        (5, "D009369", "CARCINOMA"),
    ]
    mentions = [
        mention(record, str(record), concept) | {"text": text, "end": len(text)} for record, concept, text in spans
    ]
    documents = [document(record, str(record), text="x" * 30) for record, _, _ in spans]
    add_source(home, SOURCE, documents, mentions=mentions)
    add_run(home, SOURCE)
    publish(home, VERSIONS)
    rows = {row["mesh_id"]: row for row in pq.read_table(entities_path(home, mesh_version=MESH)).to_pylist()}
    del rows["C562840"]
    del rows["OMIM:114480"]
    rows["D001943"] |= {"name": "Mammary Neoplasms", "names": ["Mammary Neoplasms", "Breast Cancer"],
                        "name_kinds": ["preferred", "entry"]}  # fmt: skip
    rows["D009371"] |= {"tree_numbers": ["C04.600"]}
    rows["D002277"] = rows["D009369"] | {"mesh_id": "D002277", "name": "Carcinoma", "names": ["Carcinoma"],
                                         "tree_numbers": ["C04.557"], "aliases": ["C562840"]}  # fmt: skip
    write_entities(home, [row | {"mesh_version": "2025"} for row in rows.values()], mesh_version="2025")
    return home


@pytest.fixture
def changes(home: Home) -> Iterator[MeshChanges]:
    with mesh_changes(home, old=MESH, new="2025", fold=str.lower) as changes:
        yield changes


def test_every_change_with_the_mentions_that_it_affects(changes: MeshChanges) -> None:
    assert [tuple(row.values()) for row in changes.listed().to_pylist()] == [
        ("merged", "OMIM:114480", "Breast Cancer", "D001943 Mammary Neoplasms", 1),
        ("moved", "D009371", "Neoplasms by Site", "C04.600", 1),
        ("new", "D002277", "Carcinoma", None, 2),
        ("renamed", "D001943", "Breast Neoplasms", "Mammary Neoplasms", 1),
        ("replaced", "C562840", "Breast Cancer, Familial", "D002277 Carcinoma", 1),
    ]


def test_affected_documents(changes: MeshChanges, home: Home) -> None:
    mentions = home.mentions(SOURCE, VERSIONS)
    assert changes.touched(mentions) == [0, 1, 3, 4, 5]  # not the concept that only moved


def test_versions_that_are_equal_or_missing(home: Home) -> None:
    with mesh_changes(home, old=MESH, new=MESH, fold=str.lower) as changes:
        assert changes.listed().num_rows == 0
    with (
        pytest.raises(WarehouseError, match="has no vocabulary 2023, but 2024, 2025; import it first"),
        mesh_changes(home, old="2023", new=MESH, fold=str.lower),
    ):
        pass


def test_before_anything_was_published(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    rows = pq.read_table(entities_path(home, mesh_version=MESH)).to_pylist()
    write_entities(home, [row | {"mesh_version": "2025"} for row in rows[1:]], mesh_version="2025")
    with mesh_changes(home, old=MESH, new="2025", fold=str.lower) as changes:
        assert [tuple(row.values()) for row in changes.listed().to_pylist()] == [
            ("retired", "D009369", "Neoplasms", None, 0)
        ]
