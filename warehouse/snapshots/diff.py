"""List the snapshots of a home, and compare two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import duckdb

from e2emern.warehouse.errors import NoSnapshotError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.opening import attach
from e2emern.warehouse.snapshots.reader import Snapshot, open_snapshot, read_snapshot
from e2emern.warehouse.snapshots.refs import current_number, numbers, withdrawn
from e2emern.warehouse.wording import one_line

EXAMPLES = 5

T = TypeVar("T")

# A row visible in both snapshots is in a source that both show, and neither hides it: only the other rows are compared.
# Text is compared, not origin: a document that a new baseline repeats unchanged has not changed.
_DOCUMENTS_SQL = """
WITH
    only_before AS ({before}),
    only_after AS ({after}),
    joined AS (
        SELECT coalesce(a.document_id, b.document_id) AS document_id, coalesce(a.title, b.title) AS title,
            CASE WHEN b.document_id IS NULL THEN 'gained' WHEN a.document_id IS NULL THEN 'lost' ELSE 'changed' END
                AS change
        FROM only_before AS b FULL JOIN only_after AS a USING (document_id)
        WHERE b.document_id IS NULL OR a.document_id IS NULL OR a.text_sha256 <> b.text_sha256
    ),
    ranked AS (SELECT *, row_number() OVER (PARTITION BY change ORDER BY document_id) AS place FROM joined),
    final AS (
        SELECT change, count(*) AS documents, list(struct_pack(document_id, title) ORDER BY document_id)
            FILTER (place <= {examples}) AS examples
        FROM ranked GROUP BY change
    )
FROM final
"""
_ONLY_SQL = """
SELECT document_id, title, text_sha256 FROM {one}.documents AS d
WHERE NOT EXISTS (FROM {other}.sources AS s WHERE s.current AND s.source = d.source AND s.digest = d.digest)
    OR EXISTS (
        FROM {other}.superseded AS s WHERE s.source = d.source AND s.digest = d.digest AND s.record = d.record
    )
"""
_CONCEPTS_SQL = """
WITH
    joined AS (
        SELECT coalesce(a.mesh_id, b.mesh_id) AS mesh_id, coalesce(a.mesh_name, b.mesh_name) AS mesh_name,
            coalesce(b.mentions, 0) AS was, coalesce(a.mentions, 0) AS is_now
        FROM before.concepts AS b FULL JOIN warehouse.concepts AS a USING (mesh_id)
        WHERE b.mentions IS DISTINCT FROM a.mentions
    ),
    named AS (
        SELECT *, CASE WHEN was = 0 THEN 'gained' WHEN is_now = 0 THEN 'lost' ELSE 'changed' END AS change FROM joined
    ),
    ranked AS (
        SELECT *, row_number() OVER (PARTITION BY change ORDER BY abs(is_now - was) DESC, mesh_id) AS place FROM named
    ),
    final AS (
        SELECT change, count(*) AS concepts, list(struct_pack(mesh_id, mesh_name, was, is_now) ORDER BY place)
            FILTER (place <= {examples}) AS examples
        FROM ranked GROUP BY change
    )
FROM final
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot and its state: `withdrawn` if a rollback went back to an earlier one, or `never current`."""

    snapshot: Snapshot
    state: Literal["current", "earlier", "withdrawn", "never current"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedDocument:
    """A document that is in only one of the snapshots, or whose text differs."""

    document_id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedConcept:
    """A concept and its number of mentions in two snapshots."""

    mesh_id: str
    mesh_name: str | None
    was: int
    is_now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """Numbers gained, lost and changed, with examples of each."""

    gained: int = 0
    lost: int = 0
    changed: int = 0
    examples: dict[str, list[T]]  # by gained, lost, changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from one snapshot to another; a concept changed if its number of mentions did."""

    before: Snapshot
    after: Snapshot
    documents: Change[ChangedDocument]
    concepts: Change[ChangedConcept]


def list_snapshots(home: Home) -> list[Listed]:
    """Return all snapshots, newest first. Raises `WarehouseError` if there is none or one cannot be opened."""
    current = current_number(home)
    if current is None:
        raise NoSnapshotError(home.root)
    snapshots = [read_snapshot(home, number) for number in reversed(numbers(home))]
    listed, went_back = [], withdrawn(home)
    for one in snapshots:
        skipped = any(
            later.number <= current and (later.previous or 0) < one.number < later.number for later in snapshots
        )
        state: Literal["current", "earlier", "withdrawn", "never current"] = "earlier"
        if one.number == current:
            state = "current"
        elif one.number > current or skipped:
            state = "withdrawn" if one.number in went_back else "never current"
        listed.append(Listed(one, state))
    return listed


def difference(home: Home, before: int, after: int) -> Difference:
    """Return what changed from snapshot `before` to snapshot `after`.

    Raises `WarehouseError` if one of them does not exist or cannot be read.
    """
    was, is_now = read_snapshot(home, before), read_snapshot(home, after)
    with open_snapshot(home, after) as connection:
        path = home.snapshot(before).resolve()
        sides = {
            "before": _ONLY_SQL.format(one="before", other="warehouse"),
            "after": _ONLY_SQL.format(one="warehouse", other="before"),
        }
        try:
            attach(connection, path, "before")
            documents = connection.execute(_DOCUMENTS_SQL.format(examples=EXAMPLES, **sides)).fetchall()
            concepts = connection.execute(_CONCEPTS_SQL.format(examples=EXAMPLES)).fetchall()
        except duckdb.Error as error:
            reason = one_line(error)
            raise WarehouseError(f"snapshots {before} and {after} cannot be compared: {reason}") from error
    return Difference(
        before=was,
        after=is_now,
        documents=_change(documents, ChangedDocument),
        concepts=_change(concepts, ChangedConcept),
    )


def _change(rows: list[tuple[Any, ...]], kind: type[Any]) -> Change[Any]:
    counts = {change: count for change, count, _ in rows}
    return Change(**counts, examples={change: [kind(**one) for one in examples] for change, _, examples in rows})
