"""Find a concept by id, preferred name or any other name, and an entity type, ignoring case."""

from __future__ import annotations

from rapidfuzz import process, utils

from e2emern.warehouse.errors import QueryRefusedError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.trusted import query_trusted

_NEAR = 3  # names to suggest
_NEAR_ENOUGH = 70  # of 100, rapidfuzz's WRatio

_EXACT_SQL = """
WITH
    wanted AS (SELECT lower(trim($text)) AS text, regexp_replace(text, '^(mesh|omim):', '') AS id),
    ordered AS (
        SELECT mesh_id, name, names, list_position(['descriptor', 'supplementary'], record_type) AS place FROM entities
    ),
    matching AS (
        SELECT mesh_id, name, (0, 0) AS rank FROM ordered, wanted WHERE lower(mesh_id) IN (wanted.text, wanted.id)
        UNION ALL
        SELECT mesh_id, name, (1, coalesce(place, 3)) FROM ordered, wanted WHERE lower(name) = wanted.text
        UNION ALL
        SELECT mesh_id, name, (2, coalesce(place, 3)) FROM ordered, wanted
        WHERE list_contains(list_transform(names, lambda each: lower(each)), wanted.text)
    ),
    final AS (SELECT DISTINCT mesh_id, name FROM matching WHERE rank = (SELECT min(rank) FROM matching))
SELECT mesh_id, name FROM final ORDER BY mesh_id
"""
_NAMES_SQL = "SELECT DISTINCT unnest(names) AS name FROM entities"


def find_concept(home: Home, text: str, *, number: int | None = None) -> str:
    """Return the id of the concept that has `text` as id or name in the vocabulary of the current or another snapshot.

    An id may have its namespace, as exports write it: `MESH:D009369`. A preferred name takes precedence over another
    concept's synonym, a descriptor over a supplementary record, and that over an OMIM entry. Raises `QueryRefusedError`
    if no concept has the name (with similar names) or several share it (with their ids), and `WarehouseError` if the
    home has no snapshot.
    """
    found = query_trusted(home, _EXACT_SQL, parameters={"text": text}, number=number).to_pylist()
    if len(found) == 1:
        return str(found[0]["mesh_id"])
    if found:
        several = ", ".join(f"{row['mesh_id']} {row['name']}" for row in found)
        raise QueryRefusedError(f"{text!r} is a name of {len(found)} concepts: {several}; give the id of one")
    names = [str(row["name"]) for row in query_trusted(home, _NAMES_SQL, number=number).to_pylist()]
    near = process.extract(text, names, processor=utils.default_process, limit=_NEAR, score_cutoff=_NEAR_ENOUGH)
    hint = f"; did you mean {', '.join(repr(name) for name, _, _ in near)}?" if near else ""
    raise QueryRefusedError(f"{text!r} is neither an id nor a name of a concept{hint}")


def find_type(home: Home, text: str, *, number: int | None = None) -> str:
    """Return an entity type as the tables write it, ignoring case. Raises `QueryRefusedError` for an unknown one."""
    found = query_trusted(home, "SELECT DISTINCT entity_type FROM entities ORDER BY ALL", number=number)["entity_type"]
    known = [str(kind) for kind in found.to_pylist()]
    for kind in known:
        if kind.lower() == text.strip().lower():
            return kind
    raise QueryRefusedError(f"{text!r} is not an entity type, expected {' or '.join(known)}")
