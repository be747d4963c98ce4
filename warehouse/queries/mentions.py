"""Read the mentions of a snapshot by concept, document, type and score, or one concept with its counts."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.concepts import find_concept, find_type
from e2emern.warehouse.queries.trusted import query_trusted
from e2emern.warehouse.quoting import literal
from e2emern.warehouse.snapshots.refs import existing_number

_MENTIONS_SQL = """
SELECT document_id, pmid, sentence, start, "end", text, entity_type, mesh_id, mesh_name, ner_score, mid_score,
    high_score, link_score, how
FROM mentions WHERE {conditions}
ORDER BY source, record, start, "end", link_score DESC NULLS LAST, mesh_id
"""
_CONCEPT_SQL = """
WITH
    below AS (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept),

    counted AS (
        SELECT count(DISTINCT (document_id, start, "end")) AS mentions, count(DISTINCT document_id) AS documents
        FROM mentions SEMI JOIN below USING (mesh_id)
    ),
    final AS (
        SELECT mesh_id, name, names, entity_type, tree_numbers, record_type, mentions, documents
        FROM entities, counted WHERE mesh_id = $concept
    )
SELECT * FROM final
"""


def read_mentions(
    home: Home,
    *,
    concept: str | None = None,
    descendants: bool = True,
    document: str | None = None,
    entity_type: str | None = None,
    min_score: float | None = None,
    number: int | None = None,
) -> pa.Table:
    """Return the mentions that meet all conditions, ordered by source, record and start.

    Args:
        concept: id or name of a concept.
        descendants: include the concepts below it in the MeSH trees.
        document: id of a document.
        entity_type: Disease or Chemical, in any case.
        min_score: minimum probability of the link (`link_score`); excludes mentions without a concept.
        number: of a snapshot, by default the current one.

    Raises:
        QueryRefusedError: the concept or the type is unknown, or the answer exceeds a limit.
        WarehouseError: there is no such snapshot.
    """
    number = existing_number(home, number)
    conditions = ["TRUE"]
    if concept is not None:
        found = literal(find_concept(home, concept, number=number))
        below = f"SELECT mesh_id FROM entity_tree WHERE ancestor_id = {found}"
        conditions.append(f"mesh_id IN ({below})" if descendants else f"mesh_id = {found}")
    if document is not None:
        conditions.append(f"document_id = {literal(document)}")
    if entity_type is not None:
        conditions.append(f"entity_type = {literal(find_type(home, entity_type, number=number))}")
    if min_score is not None:
        conditions.append(f"link_score >= {float(min_score)!r}::FLOAT")
    return query_trusted(home, _MENTIONS_SQL.format(conditions=" AND ".join(conditions)), number=number)


def read_concept(home: Home, concept: str, *, number: int | None = None) -> dict[str, Any]:
    """Return a concept by id or name, with the counts of mentions and documents of it and the concepts below it.

    Raises QueryRefusedError if no concept has the name, or several have it.
    """
    number = existing_number(home, number)
    mesh_id = find_concept(home, concept, number=number)
    (row,) = query_trusted(home, _CONCEPT_SQL, parameters={"concept": mesh_id}, number=number).to_pylist()
    return dict(row)
