"""The vocabulary and its tree."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.warehouse.errors import SchemaMismatchError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import entities_path, list_vocabularies, write_entities
from tests.warehouse.homes import MESH, add_vocabulary


def test_concepts_come_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    table = pq.read_table(entities_path(home, mesh_version=MESH))
    assert table.num_rows == 6
    assert table.slice(3, 1).to_pylist() == [
        {
            "mesh_id": "C562840",
            "name": "Breast Cancer, Familial",
            "names": ["Breast Cancer, Familial"],
            "name_kinds": ["preferred"],
            "entity_type": "Disease",
            "tree_numbers": [],
            "record_type": "supplementary",
            "mapped_to": ["D001943"],
            "aliases": [],
            "mesh_version": "2024",
        }
    ]


def test_tree(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    pairs = [tuple(row.values()) for row in pq.read_table(home.entity_tree(MESH)).to_pylist()]
    assert pairs == [
        ("D009369", "D009369"),
        ("D009371", "D009371"),
        ("D009371", "D009369"),
        ("D001943", "D001943"),
        ("D001943", "D009369"),
        ("D001943", "D009371"),
        ("C562840", "C562840"),  # supplementary: is in the trees of the descriptor it is mapped to
        ("C562840", "D001943"),
        ("C562840", "D009369"),
        ("C562840", "D009371"),
        ("D001241", "D001241"),  # its parent is not in the vocabulary
        ("OMIM:114480", "OMIM:114480"),  # no tree number
    ]


def test_tree_number_is_no_prefix_of_its_neighbour(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    rows = [row | {"mesh_version": "2025"} for row in pq.read_table(entities_path(home, mesh_version=MESH)).to_pylist()]
    rows[0]["tree_numbers"] = ["C04.58"]
    write_entities(home, rows, mesh_version="2025")
    pairs = [tuple(row.values()) for row in pq.read_table(home.entity_tree("2025")).to_pylist()]
    assert ("D009371", "D009369") not in pairs


def test_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    rows = pq.read_table(entities_path(home, mesh_version=MESH)).to_pylist()
    with pytest.raises(SchemaMismatchError, match=r"2025\.parquet has mesh_version \['2024'\], expected '2025'"):
        write_entities(home, rows, mesh_version="2025")
    with pytest.raises(SchemaMismatchError, match="has concept D009369 2 times, expected once"):
        write_entities(Home(tmp_path / "other"), rows + rows[:1], mesh_version=MESH)
    with pytest.raises(
        WarehouseError, match=r"has a different vocabulary of version 2024; give this one another version"
    ):
        write_entities(home, rows[:2], mesh_version=MESH)
    with pytest.raises(WarehouseError, match="has no vocabulary 2025, but 2024; import it first"):
        entities_path(home, mesh_version="2025")
    home.entities(MESH).write_bytes(b"no Parquet file")
    with pytest.raises(WarehouseError, match=r"2024\.parquet cannot be read; move it away and import it again$"):
        write_entities(home, rows, mesh_version=MESH)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    home.entities("2025").write_bytes(b"no Parquet file")
    with pytest.raises(WarehouseError, match=r"2025\.parquet cannot be read \(.*\); move it away and import it again$"):
        list_vocabularies(home)
