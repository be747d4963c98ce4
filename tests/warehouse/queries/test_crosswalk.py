"""The table `xrefs` and the query `crosswalk`."""

from __future__ import annotations

from pathlib import Path

from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.queries.saved import answer
from e2emern.warehouse.queries.sql import query
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import MESH, VERSIONS, add_source, document, key, mention

BREAST, NEOPLASMS = "D001943", "D009369"


def test_ids_in_other_databases_are_one_join_away(tmp_path: Path) -> None:
    home = Home(tmp_path)
    rows = [
        {"tree_numbers": [], "mapped_to": []}
        | {"mesh_id": mesh_id, "name": name, "names": [name], "name_kinds": ["preferred"], "entity_type": "Disease"}
        | {"record_type": record_type, "aliases": aliases, "mesh_version": MESH}
        for mesh_id, name, record_type, aliases in (
            (BREAST, "Breast Neoplasms", "descriptor", ["114480", "DOID:1612", "C000001"]),
            ("168600", "Parkinson Disease 1", "omim", ["C566001"]),
            (NEOPLASMS, "Neoplasms", "descriptor", []),
        )
    ]
    write_entities(home, rows, mesh_version=MESH)
    mentions = [mention(0, "11", mesh_id, start=10 * at) for at, mesh_id in enumerate((BREAST, "168600", BREAST))]
    add_source(home, key("a"), [document(0, "11")], mentions=mentions)
    publish(home, VERSIONS)
    breast, parkinson = (BREAST, "Breast Neoplasms", "Disease"), ("168600", "Parkinson Disease 1", "Disease")
    omim = [(*breast, "OMIM", "OMIM:114480", 2), (*parkinson, "OMIM", "OMIM:168600", 1)]
    found = [tuple(row.values()) for row in answer(home, "crosswalk").to_pylist()]
    assert found == [
        (*breast, "DOID", "DOID:1612", 2),
        (*breast, "MeSH", "MESH:C000001", 2),
        omim[0],
        (*parkinson, "MeSH", "MESH:C566001", 1),
        omim[1],
    ]
    for given, expected in (({"database": "omim"}, omim), ({"id": "omim:168600"}, omim[1:])):
        assert [tuple(row.values()) for row in answer(home, "crosswalk", given).to_pylist()] == expected
    joined = "SELECT identifier FROM mentions JOIN xrefs USING (mesh_id) WHERE database = 'OMIM' ORDER BY start"
    assert query(home, joined)["identifier"].to_pylist() == ["OMIM:114480", "OMIM:168600", "OMIM:114480"]
