"""Publishes a snapshot: a small DuckDB file of views over finished Parquet files, checked before it is shown.

The file is built beside, checked, and renamed to `snapshots/<number>.duckdb`; then the link `warehouse.duckdb`
is replaced in one step. A link, not a copy: DuckDB resolves it when it opens, so a reader keeps the snapshot it
has opened, one number names one file, and going back is another link. Snapshots are read-only files.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse import catalog
from warehouse.contents import Contents, fill, gather
from warehouse.errors import PublishRefusedError, WarehouseError
from warehouse.files import sync
from warehouse.layout import Home, SourceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A published snapshot; counts are rows of its views, `linked` the mentions with a concept."""

    number: int
    created: datetime
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
    unchanged: bool = False  # publish found nothing new and returned the snapshot that stands


def publish(home: Home, *, model_version: str, mesh_version: str) -> Snapshot:
    """Publishes all finished sources of one model and vocabulary, or returns the current snapshot if it shows them.

    Waits for another publisher. Raises `PublishRefusedError` when books do not balance, a file is missing or
    has rows of another source, a mention has no document or stands twice; `WarehouseError` when the home has no
    finished source or no vocabulary. Nothing is changed then.
    """
    home = Home(home.root.resolve())
    with _publisher(home):
        before = current_snapshot(home)
        contents = gather(home, model_version=model_version, mesh_version=mesh_version)
        if before and before.fingerprint == contents.fingerprint:
            return replace(before, unchanged=True)

        same_files = before and (before.model_version, before.mesh_version) == (model_version, mesh_version)
        verified = _keys(home) if same_files else set()
        building = home.snapshots / ".building.duckdb"
        _remove(building)
        try:
            with duckdb.connect(str(building)) as connection:
                connection.begin()
                fill(connection, contents, verified=verified)
                snapshot = _describe(connection, contents)
                connection.commit()
            sync(building)
            building.chmod(0o444)
            building.rename(home.snapshot(snapshot.number))
        except duckdb.Error as error:  # a file that cannot be read, or no room: DuckDB says which
            reason = " ".join(str(error).split())
            raise PublishRefusedError(f"nothing was published, {home.root} stays as it was: {reason}") from error
        finally:
            _remove(building)
        sync(home.snapshots)
        _point(home, snapshot.number)
        return snapshot


def current_snapshot(home: Home) -> Snapshot | None:
    """Returns the snapshot that `warehouse.duckdb` shows, or None when nothing was published yet.

    Raises `WarehouseError` when it cannot be opened.
    """
    if not home.warehouse.is_symlink():
        return None
    with open_snapshot(home) as connection:
        names = [column for column in Snapshot.__dataclass_fields__ if column != "unchanged"]
        row = connection.execute(f"SELECT {', '.join(names)} FROM snapshot").fetchone()
    if row is None:
        raise WarehouseError(f"{home.warehouse} does not describe itself; publish again")
    return Snapshot(**dict(zip(names, row, strict=True)))


@contextmanager
def open_snapshot(home: Home, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens the current snapshot read-only, as the catalog in use of a DuckDB of its own.

    Raises `WarehouseError` when nothing was published or the file cannot be opened.
    """
    if not home.root.is_dir():
        raise WarehouseError(f"{home.root} is not there; annotate something into it first")
    if not home.warehouse.exists():
        raise WarehouseError(f"{home.root} has no snapshot yet; annotate something into it first")
    path = home.warehouse.resolve()
    with duckdb.connect(config=config or {}) as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"ATTACH {catalog.literal(str(path))} AS warehouse (READ_ONLY)")
            connection.execute("USE warehouse")
        except duckdb.Error as error:
            raise WarehouseError(f"{path} cannot be opened: {str(error).splitlines()[0]}") from error
        yield connection


def _keys(home: Home) -> set[SourceKey]:
    """Returns the sources of the current snapshot; their files were verified then and never change."""
    with open_snapshot(home) as connection:
        return {SourceKey(*row) for row in connection.execute("SELECT source, digest FROM sources").fetchall()}


def _describe(connection: duckdb.DuckDBPyConnection, contents: Contents) -> Snapshot:
    """Creates the table `snapshot` from what the others hold."""
    numbers = [int(path.stem) for path in contents.home.snapshots.glob("*.duckdb") if path.stem.isdigit()]
    sources, damaged, rows, failures, deletions = _one_row(
        connection,
        """
        SELECT count(*), count(*) FILTER (status = 'damaged'), sum(documents), sum(failed + misfits), sum(deleted)
        FROM sources WHERE current
        """,
    )
    superseded, hidden = _one_row(connection, "SELECT count(*), count(*) FILTER (reason <> 'reissued') FROM superseded")
    mentions, linked, concepts = _one_row(
        connection, "SELECT count(*), count(mesh_id), count(DISTINCT mesh_id) FROM mentions"
    )
    snapshot = Snapshot(
        number=max(numbers, default=0) + 1,
        created=datetime.now(UTC),
        model_version=contents.model_version,
        mesh_version=contents.mesh_version,
        sources=sources,
        damaged=damaged,
        documents=rows - hidden,
        mentions=mentions,
        linked=linked,
        concepts=concepts,
        failures=failures,
        deletions=deletions,
        superseded=superseded,
        fingerprint=contents.fingerprint,
    )
    described = asdict(snapshot)
    del described["unchanged"]
    catalog.create_table(connection, "snapshot", [described])
    return snapshot


def _one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(int(value) for value in row)


def _point(home: Home, number: int) -> None:
    beside = home.root / ".warehouse.duckdb"
    beside.unlink(missing_ok=True)
    beside.symlink_to(home.snapshot(number).relative_to(home.root))
    beside.replace(home.warehouse)
    sync(home.root)


def _remove(building: Path) -> None:
    for suffix in ("", ".wal"):
        building.with_name(building.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(building.with_name(building.name + ".tmp"), ignore_errors=True)


@contextmanager
def _publisher(home: Home) -> Iterator[None]:
    """Holds the home's lock, which the kernel releases if this process dies."""
    if not home.root.is_dir():
        raise WarehouseError(f"{home.root} is not there; annotate something into it first")
    home.snapshots.mkdir(exist_ok=True)
    with home.lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
