"""Which documents of the current snapshot are asked for: a condition on the columns of `documents`, and a date."""

from __future__ import annotations

import re
from dataclasses import dataclass

from warehouse.errors import QueryRefusedError
from warehouse.layout import Home, SourceKey
from warehouse.snapshot import open_snapshot
from warehouse.sql import query

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?\Z")
_SELECTED = """
SELECT source, digest, list(record ORDER BY record) AS records
FROM documents
WHERE ({where}
) AND {since}
GROUP BY ALL ORDER BY ALL
"""
_SINCE = "published >= left('{since}', length(published))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Documents for which `where`, an SQL condition, is true and that were published on `since` or after.

    `since` is ISO 8601, to the year, month or day. A document that is dated to the year counts where its year does; one
    without a date does not. Raises `QueryRefusedError` for a date of another form.
    """

    where: str | None = None
    since: str | None = None

    def __post_init__(self) -> None:
        if self.since is not None and not _DATE.match(self.since):
            raise QueryRefusedError(f"found date {self.since!r}, expected YEAR, YEAR-MM or YEAR-MM-DD")


def select_records(home: Home, selection: Selection) -> dict[SourceKey, list[int]]:
    """Returns the selected records of each source, ascending.

    Raises `QueryRefusedError` where the condition is no condition on the columns of `documents`, `WarehouseError` when
    there is no snapshot.
    """
    sql = _SELECTED.format(
        where=selection.where or "true",
        since="true" if selection.since is None else _SINCE.format(since=selection.since),
    )
    try:
        found = query(home, sql, timeout_s=3600)
    except QueryRefusedError as error:
        raise QueryRefusedError(f"the condition cannot be answered: {error}") from error
    return {SourceKey(row["source"], row["digest"]): row["records"] for row in found.to_pylist()}


def current_sources(home: Home) -> list[SourceKey]:
    """Returns the sources that the current snapshot shows, lowest rank first. Raises `WarehouseError` without one."""
    with open_snapshot(home) as connection:
        rows = connection.execute("SELECT source, digest FROM sources WHERE current ORDER BY rank").fetchall()
    return [SourceKey(name, digest) for name, digest in rows]
