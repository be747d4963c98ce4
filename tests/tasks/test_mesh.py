"""Compact tables of MeSH become the entities table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import InputError
from tasks.mesh import read_compact_mesh


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "names.tsv").write_text(
        "mesh_id\tentity_type\tpreferred\tname\tsource\n"
        "D009369\tDisease\t0\tTumors\tx\n"
        "D009369\tDisease\t1\tNeoplasms\tx\n"
        "D009369\tDisease\t0\tNEOPLASMS\tx\n"
        "C1\tDisease\t1\tRare tumor\tx\n"
    )
    (tmp_path / "records.tsv").write_text(
        "mesh_id\trecord_type\ttree_numbers\tmapped_to\nD009369\tdescriptor\t\t\nC1\tsupplementary\t\tD009369|D2\n"
    )
    (tmp_path / "aliases.tsv").write_text("alias\tmesh_id\nOMIM:1\tC1\n")
    return tmp_path


def test_rows_of_concepts(folder: Path) -> None:
    assert read_compact_mesh(folder, version="2030") == [
        {
            "mesh_id": "C1",
            "name": "Rare tumor",
            "names": ["Rare tumor"],
            "entity_type": "Disease",
            "tree_numbers": [],
            "record_type": "supplementary",
            "mapped_to": ["D009369", "D2"],
            "aliases": ["OMIM:1"],
            "mesh_version": "2030",
        },
        {
            "mesh_id": "D009369",
            "name": "Neoplasms",
            "names": ["Neoplasms", "Tumors"],
            "entity_type": "Disease",
            "tree_numbers": ["C04"],  # the root, which the records left without number
            "record_type": "descriptor",
            "mapped_to": [],
            "aliases": [],
            "mesh_version": "2030",
        },
    ]


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("names", "1\tNeoplasms", "0\tNeoplasms", "D009369 has no preferred name; mark one with preferred = 1"),
        ("names", "C1\tDisease", "D009369\tChemical", "names, line 5: D009369 is Chemical, but Disease before"),
        ("records", "record_type", "kind", "records lacks the columns record_type"),
    ],
)
def test_tables_of_another_form(folder: Path, table: str, old: str, new: str, message: str) -> None:
    path = folder / f"{table}.tsv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as raised:
        read_compact_mesh(folder, version="2030")
    assert message in str(raised.value)


def test_a_missing_table(folder: Path) -> None:
    (folder / "aliases.tsv").unlink()
    with pytest.raises(InputError, match=r"found neither aliases.tsv nor aliases.tsv.xz"):
        read_compact_mesh(folder, version="2030")
