"""Read snapshots: open the current one or an earlier one, and return its description."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import duckdb

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.snapshots.opening import attach, connected
from e2emern.warehouse.snapshots.refs import current_number, existing_number
from e2emern.warehouse.sources.counts import SourceCounts, SourceSummary
from e2emern.warehouse.wording import one_line

Operation = Literal["annotate", "backfill", "relink", "evaluate", "withdraw", "publish"]
"""What published a snapshot; `publish` is the command, which annotates nothing."""


Known = dict[str, tuple[SourceSummary, int]]
"""The record counts of sources and their numbers of mentions, by file stem."""

COUNTS = [field.name for field in fields(SourceCounts)]
"""Columns of the table `sources`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A published snapshot. Counts are rows of its views; `linked` counts the mentions with a concept."""

    number: int
    created: datetime
    operation: Operation
    model_version: str
    mesh_version: str
    sources: int
    damaged: int
    documents: int
    mentions: int
    linked: int
    concepts: int
    failures: int
    deletions: int
    superseded: int
    fingerprint: str
    previous: int | None = None
    exceeded: str | None = None
    accepted: str | None = None
    unchanged: bool = False  # publish found nothing new and returned the current snapshot

    @property
    def versions(self) -> Versions:
        """The model whose mentions it shows, and the vocabulary that they are linked to."""
        return Versions(self.model_version, self.mesh_version)


def current_snapshot(home: Home) -> Snapshot | None:
    """Return the snapshot that `warehouse.duckdb` shows, or None when nothing was published yet.

    Raises `WarehouseError` if it is not a link to a snapshot, or the snapshot cannot be opened.
    """
    number = current_number(home)
    return None if number is None else read_snapshot(home, number)


def read_snapshot(home: Home, number: int | None = None) -> Snapshot:
    """Return the description of a snapshot, by default the current one.

    Raises `WarehouseError` if it does not exist or cannot be opened.
    """
    with open_snapshot(home, number) as connection:
        return describe(home, connection)


@contextmanager
def open_snapshot(
    home: Home, number: int | None = None, *, config: dict[str, Any] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a snapshot read-only, by default the current one, as the default catalog of a new DuckDB connection.

    Its files are read from the present location of the home. Raises `WarehouseError` if nothing was published, there is
    no such snapshot, `warehouse.duckdb` is not a link to one, or the file cannot be opened.
    """
    with open_path(home, home.snapshot(existing_number(home, number)), config=config) as connection:
        yield connection


@contextmanager
def open_path(home: Home, path: Path, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a snapshot file like `open_snapshot`.

    Raises `WarehouseError` if it cannot be opened, or a query in the block cannot read a file of the home.
    """
    try:
        with connected(home.root.resolve(), config=config) as connection:
            attach(connection, path.resolve(), "warehouse")
            connection.execute("USE warehouse")
            yield connection
    except duckdb.Error as error:
        reason = one_line(error)
        raise WarehouseError(f"cannot be read; `e2emern doctor` may know why: {reason}", path=home.root) from error


def describe(home: Home, connection: duckdb.DuckDBPyConnection) -> Snapshot:
    """Return the description of an open snapshot. Raises `WarehouseError` if it is malformed."""
    names = [column for column in Snapshot.__dataclass_fields__ if column != "unchanged"]
    try:
        ((*values,),) = connection.execute(f"SELECT {', '.join(names)} FROM snapshot").fetchall()
    except (duckdb.Error, ValueError) as error:
        raise WarehouseError(
            f"has a malformed snapshot ({one_line(error)}); publish into a new home", path=home.root
        ) from error
    return Snapshot(**dict(zip(names, values, strict=True)))


def current_sources(home: Home) -> list[SourceKey]:
    """Return the sources that the current snapshot shows, lowest rank first. Raises `WarehouseError` without one."""
    with open_snapshot(home) as connection:
        rows = connection.execute("SELECT source, digest FROM sources WHERE current ORDER BY rank").fetchall()
    return [SourceKey(name, digest) for name, digest in rows]


def shown_sources(home: Home, versions: Versions) -> Known:
    """Return the sources of the current snapshot; none if it is of other versions or cannot be read."""
    with suppress(WarehouseError), open_snapshot(home) as connection:
        if describe(home, connection).versions == versions:
            return known_sources(connection)
    return {}


def known_sources(connection: duckdb.DuckDBPyConnection) -> Known:
    """Return the summaries of the sources of an open snapshot."""
    rows = connection.execute(
        f"SELECT source, digest, format, bytes, status, error, mentions, {', '.join(COUNTS)} FROM sources"
    ).fetchall()
    return {one.key.stem: (one, mentions) for one, mentions in map(_known, rows)}


@lru_cache(maxsize=100_000)  # a night reads the same rows several times
def _known(row: tuple[Any, ...]) -> tuple[SourceSummary, int]:
    name, digest, form, size, status, error, mentions, *numbers = row
    counts = SourceCounts(**dict(zip(COUNTS, numbers, strict=True)))
    key = SourceKey(name, digest)
    return SourceSummary(key=key, format=form, bytes=size, counts=counts, status=status, error=error), mentions
