"""The figures of a report about a home, all from one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries import library
from e2emern.warehouse.queries.answers import MEMORY, settings
from e2emern.warehouse.queries.explorer import sql_of
from e2emern.warehouse.queries.nights import Night, nights_of
from e2emern.warehouse.snapshots.reader import Snapshot, describe, open_snapshot

BINS = 20  # of link scores, from 0 to 1

_SCORES_SQL = f"""
SELECT least(CAST(floor(link_score * {BINS}) AS INTEGER), {BINS - 1}) AS bin, count(*) AS mentions
FROM mentions WHERE link_score IS NOT NULL GROUP BY bin ORDER BY bin
"""
_MOST_FAILURES = 50  # kinds

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The figures of one snapshot.

    Attributes:
        nights: the last ones, oldest first.
        concepts: mesh_id, name, entity_type, mentions of the most frequent ones.
        unlinked: entity_type, mentions, and the share of them without a concept.
        failures: kind, records, sources, example; the most frequent kinds.
        scores: linked mentions by link score, in `BINS` equal bins.
    """

    snapshot: Snapshot
    nights: list[Night]
    concepts: Rows
    unlinked: Rows
    failures: Rows
    scores: list[int]


def overview(home: Home, *, last: int) -> Overview:
    """Return the figures of the current snapshot, with the `last` nights. Raises `WarehouseError` if there is none."""
    with settings(MEMORY) as config, open_snapshot(home, config=dict(config)) as connection:
        scores = [0] * BINS
        for place, mentions in connection.execute(_SCORES_SQL).fetchall():
            scores[place] = mentions
        return Overview(
            snapshot=describe(home, connection),
            nights=nights_of(connection, last=last),
            concepts=_rows(connection, sql_of("corpus-concepts")),
            unlinked=_rows(connection, sql_of("corpus-unlinked")),
            failures=_rows(connection, library()["failures"].sql)[:_MOST_FAILURES],
            scores=scores,
        )


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    found: Rows = connection.sql(sql).to_arrow_table().to_pylist()
    return found
