"""The headers of the named queries, and homes that cannot answer them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2emern.warehouse.errors import QueryRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.queries import library, read_query
from e2emern.warehouse.queries.concepts import find_concept
from e2emern.warehouse.queries.saved import answer
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import MESH, VERSIONS, add_source, key


@pytest.mark.parametrize("name", library())
def test_headers_and_queries_name_the_same_parameters(name: str) -> None:
    asked = library()[name]
    body = "\n".join(line for line in asked.sql.splitlines() if not line.startswith("--"))
    used = set(re.findall(r"\$(\w+)", body))
    named = {parameter.name for parameter in asked.parameters if parameter.kind != "snapshot"}
    assert used == named
    assert ("earlier." in body) == any(parameter.kind == "snapshot" for parameter in asked.parameters)
    assert asked.example.startswith(f"e2emern query {name} ")
    assert "final AS (" in body


def test_a_name_that_concepts_share(tmp_path: Path) -> None:
    home = Home(tmp_path)
    rows = [
        {
            "mesh_id": mesh_id,
            "name": mesh_id,
            "names": [mesh_id, name],
            "name_kinds": ["preferred", "entry"],
            "entity_type": "Disease",
            "tree_numbers": [],
            "record_type": record_type,
            "mapped_to": [],
            "aliases": [],
            "mesh_version": MESH,
        }
        for mesh_id, record_type, name in (
            ("D1", "descriptor", "Gout"),
            ("D2", "descriptor", "Gout"),
            ("D3", "descriptor", "Rickets"),
            ("C3", "supplementary", "Rickets"),
            ("C4", "supplementary", "Rash"),
            ("4", "omim", "Rash"),
        )
    ]
    write_entities(home, rows, mesh_version=MESH)
    add_source(home, key("a"))
    publish(home, VERSIONS)
    with pytest.raises(QueryRefusedError, match=r"^'gout' is a name of 2 concepts: D1 D1, D2 D2; give the id of one$"):
        find_concept(home, "gout")
    assert (find_concept(home, "rickets"), find_concept(home, "rash")) == ("D3", "C4")
    with pytest.raises(QueryRefusedError, match="has no snapshot before 1; there is nothing to compare with"):
        answer(home, "new-documents")


def test_a_home_without_snapshot(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="has no snapshot yet"):
        answer(Home(tmp_path), "new-documents")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("-- Says. \n-- $a colour: x\n-- Example: y\nWITH", "found '$a colour: x', expected `$name kind"),
        ("-- $a text: x\n-- Example: y\nWITH", "its header must begin with a sentence"),
        ("-- Says.\nWITH", "its header must begin with a sentence and have one line 'Example: '"),
    ],
)
def test_malformed_headers(tmp_path: Path, header: str, message: str) -> None:
    (tmp_path / "q.sql").write_text(header)
    with pytest.raises(QueryRefusedError) as caught:
        read_query(tmp_path / "q.sql")
    assert str(caught.value).startswith(f"q.sql: {message}")
