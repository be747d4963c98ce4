"""Compute figures for each night from the current snapshot, and so under one model and vocabulary.

A night is a date (UTC) on which a run began. A source belongs to the night that processed it first, so annotating
everything again with another model does not move figures between nights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.publish_gate import branch_shares
from e2emern.warehouse.snapshots.reader import open_snapshot

BINS = 10  # of scores, from 0 to 1

_SETUP_SQL = """
CREATE OR REPLACE TEMP TABLE recent AS
SELECT DISTINCT CAST(started AS DATE) AS night FROM runs ORDER BY night DESC LIMIT {last};

CREATE OR REPLACE TEMP TABLE brought AS
SELECT source, digest, sources.documents AS documents, CAST(started AS DATE) AS night
FROM sources JOIN runs ON run_id = first_run WHERE current AND night IN (SELECT night FROM recent);

CREATE OR REPLACE TEMP TABLE found AS -- one pass: a first load has hundreds of millions
SELECT night, mesh_id, CASE WHEN link_score < 1 THEN CAST(floor(link_score * {bins}) AS INTEGER)
    WHEN link_score >= 1 THEN {bins} - 1 END AS bin, count(*) AS mentions
FROM mentions JOIN brought USING (source, digest) GROUP BY ALL;
"""
_FIGURES_SQL = """
WITH
    volume AS (SELECT night, sum(documents) AS documents FROM brought GROUP BY night),
    visible AS (SELECT night, count(*) AS shown FROM documents JOIN brought USING (source, digest) GROUP BY night),
    counted AS (
        SELECT night, sum(mentions) AS mentions, sum(mentions) FILTER (mesh_id IS NOT NULL) AS linked
        FROM found GROUP BY night
    ),
    final AS (
        SELECT night, coalesce(volume.documents, 0), coalesce(shown, 0), coalesce(mentions, 0), coalesce(linked, 0)
        FROM recent LEFT JOIN volume USING (night) LEFT JOIN visible USING (night) LEFT JOIN counted USING (night)
    )
FROM final ORDER BY night
"""
_SCORES_SQL = """
SELECT night, bin, sum(mentions) FROM found WHERE mesh_id IS NOT NULL AND bin IS NOT NULL GROUP BY ALL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night.

    Attributes:
        date: ISO 8601.
        documents: number in the sources first processed that night.
        shown: those of them that no later source supersedes.
        mentions: in the documents shown; `linked` of them have a concept.
        branches: share of the linked mentions in each branch of the MeSH trees.
        scores: linked mentions by the probability of their link, in `BINS` equal bins.
    """

    date: str
    documents: int
    shown: int = 0
    mentions: int = 0
    linked: int = 0
    branches: Mapping[str, float]
    scores: tuple[int, ...]


def nights(home: Home, *, last: int) -> list[Night]:
    """Return the last nights of the current snapshot, oldest first. Raises `WarehouseError` if there is none."""
    with open_snapshot(home) as connection:
        return nights_of(connection, last=last)


def nights_of(connection: duckdb.DuckDBPyConnection, *, last: int) -> list[Night]:
    """Return the last nights of an open snapshot, oldest first; it leaves temporary tables in the connection."""
    connection.execute(_SETUP_SQL.format(last=last, bins=BINS))
    scores: dict[object, list[int]] = {}
    for night, place, count in connection.execute(_SCORES_SQL).fetchall():
        scores.setdefault(night, [0] * BINS)[place] = int(count)
    found = []
    for night, documents, shown, mentions, linked in connection.execute(_FIGURES_SQL).fetchall():
        concepts = f"SELECT mesh_id, sum(mentions) AS mentions FROM found WHERE night = DATE '{night}'"
        branches = branch_shares(connection, f"({concepts} AND mesh_id IS NOT NULL GROUP BY mesh_id)")
        found.append(
            Night(
                date=str(night),
                documents=int(documents),
                shown=int(shown),
                mentions=int(mentions),
                linked=int(linked),
                branches=branches,
                scores=tuple(scores.get(night, [0] * BINS)),
            )
        )
    return found
