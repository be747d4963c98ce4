"""Publishes a snapshot: a small DuckDB file of views over finished Parquet files, checked before it is shown.

The file is built beside, checked against its sources and against the previous snapshot, and given its name; then the
link `warehouse.duckdb` is replaced in one step. A number is given once and the file is never written again; only the
folder it reads from is replaced when the home has moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse.errors import OvertakenError, PublishRefusedError, WarehouseError
from warehouse.layout import Home
from warehouse.snapshots import views
from warehouse.snapshots.build import Contents, Known, fill, gather, merge_missing, remember
from warehouse.snapshots.compaction import Group
from warehouse.snapshots.file_stats import FileFacts, as_recorded, recorded_facts
from warehouse.snapshots.publish_gate import Figures, Limits, branch_shares, exceeded
from warehouse.snapshots.refs import (
    active_rollback,
    building,
    current_number,
    login,
    next_number,
    numbers,
    opened,
    point,
    publisher,
    relocate_current,
    shelve,
)

_MEMORY = "2GB"  # for DuckDB; what a publish needs beyond it goes to disk, beside the file that is built


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
    previous: int | None = None
    exceeded: str | None = None
    accepted: str | None = None
    unchanged: bool = False  # publish found nothing new and returned the snapshot that stands


def publish(
    home: Home,
    *,
    model_version: str,
    mesh_version: str,
    limits: Limits | None = None,
    accept: str | None = None,
    over: Snapshot | None = None,
) -> Snapshot:
    """Publishes all finished sources of one model and vocabulary, or returns the current snapshot if it shows them.

    `accept` says why limits and a rollback are overridden, and is recorded with the name of who did. `over` is the
    snapshot that model and vocabulary were chosen by. Waits for another publisher. Raises `OvertakenError` when another
    one than `over` is current by then; `PublishRefusedError` when books do not balance, a file is missing or has rows
    of another source, a mention has no document or stands twice, a figure is beyond its limit, or after a rollback;
    `WarehouseError` when the home has no finished source or no vocabulary, or its current snapshot cannot be read.
    Nothing is changed then.
    """
    home = Home(home.root.resolve())
    with publisher(home):
        relocate_current(home)
        before, known, merged, facts = _previous(home, model_version=model_version, mesh_version=mesh_version)
        contents = gather(home, model_version=model_version, mesh_version=mesh_version, known=known, merged=merged)
        if before and facts and before.fingerprint == contents.fingerprint:
            merge_missing(contents)
            return replace(before, unchanged=True)
        if before and over and before.number != over.number:
            raise _overtaken(before)
        _check_rollback(home, accept=accept)

        verified = {books.key for books, _ in known.values()}
        try:
            with building(home) as path:
                with opened(path, config={"memory_limit": _MEMORY}) as connection:
                    connection.begin()
                    fill(connection, contents, verified=verified, facts=facts)
                    snapshot = _describe(connection, contents)
                    snapshot = _pass_gate(connection, home, before, snapshot, limits=limits or Limits(), accept=accept)
                    described = asdict(snapshot)
                    del described["unchanged"]
                    views.create_table(connection, "snapshot", [described])
                    connection.commit()
                shelve(path, home.snapshot(snapshot.number))
        except duckdb.Error as error:  # a file that cannot be read, or no room: DuckDB says which
            reason = " ".join(str(error).split())
            raise PublishRefusedError(f"nothing was published, {home.root} stays as it was: {reason}") from error
        point(home, snapshot.number)
        return snapshot


def current_snapshot(home: Home) -> Snapshot | None:
    """Returns the snapshot that `warehouse.duckdb` shows, or None when nothing was published yet.

    Raises `WarehouseError` when it is no link to a snapshot, or that cannot be opened.
    """
    number = current_number(home)
    return None if number is None else read_snapshot(home, number)


def still_current(home: Home, before: Snapshot, *, model_version: str, mesh_version: str) -> Snapshot:
    """Returns the current snapshot, which one of this model and vocabulary is to replace as it was to replace `before`.

    Raises `OvertakenError` where the tables have gone over to yet others since.
    """
    current = read_snapshot(home)
    found = (current.model_version, current.mesh_version)
    if found not in {(before.model_version, before.mesh_version), (model_version, mesh_version)}:
        raise _overtaken(current)
    return current


def read_snapshot(home: Home, number: int | None = None) -> Snapshot:
    """Returns what a snapshot says of itself, the current one or that of a number.

    Raises `WarehouseError` when there is none, or it cannot be opened.
    """
    with open_snapshot(home, number) as connection:
        return _read(home, connection)


@contextmanager
def open_snapshot(
    home: Home, number: int | None = None, *, config: dict[str, Any] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a snapshot read-only, by default the current one, as the catalog in use of a DuckDB of its own.

    Its files are read from where the home stands now. Raises `WarehouseError` when nothing was published, there is no
    such snapshot, `warehouse.duckdb` is no link to one, or the file cannot be opened.
    """
    home.check()
    current = current_number(home)
    if current is None:
        raise WarehouseError(f"{home.root} has no snapshot yet; annotate something into it first")
    if number is not None and number not in (there := numbers(home)):
        raise WarehouseError(f"{home.root} has no snapshot {number}; found {', '.join(map(str, there))}")
    with open_path(home, home.snapshot(current if number is None else number), config=config) as connection:
        yield connection


@contextmanager
def open_path(home: Home, path: Path, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a snapshot file like `open_snapshot`. Raises `WarehouseError` when it cannot be opened."""
    path, root = path.resolve(), views.literal_path(home.root.resolve())
    with duckdb.connect(config=config or {}) as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET VARIABLE {views.HOME_VARIABLE} = {views.literal(root)}")
            connection.execute(f"ATTACH {views.literal(str(path))} AS warehouse (READ_ONLY)")
            connection.execute("USE warehouse")
        except duckdb.Error as error:
            raise WarehouseError(f"{path} cannot be opened: {str(error).splitlines()[0]}") from error
        yield connection


def _read(home: Home, connection: duckdb.DuckDBPyConnection) -> Snapshot:
    names = [column for column in Snapshot.__dataclass_fields__ if column != "unchanged"]
    try:
        ((*values,),) = connection.execute(f"SELECT {', '.join(names)} FROM snapshot").fetchall()
    except (duckdb.Error, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WarehouseError(
            f"{home.root} has a snapshot of another form ({reason}); publish into a new home"
        ) from error
    return Snapshot(**dict(zip(names, values, strict=True)))


def _previous(
    home: Home, *, model_version: str, mesh_version: str
) -> tuple[Snapshot | None, Known, list[Group], dict[str, FileFacts]]:
    """Returns the current snapshot, the books of its sources, the groups that stand merged, the facts of its files.

    Nothing but the snapshot where a file was made again with other rows, as after a repair: all is read anew then.
    """
    if not home.warehouse.is_symlink():
        return None, {}, [], {}
    with open_snapshot(home) as connection:
        before = _read(home, connection)
        known, merged = remember(connection)
        facts = recorded_facts(connection)
    if not as_recorded(home.root, facts):
        return before, {}, [], {}
    if (before.model_version, before.mesh_version) != (model_version, mesh_version):
        known, merged = {}, [group for group in merged if not group.of_model]  # they say nothing of this model's files
    return before, known, merged, facts


def _overtaken(current: Snapshot) -> OvertakenError:
    return OvertakenError(
        f"snapshot {current.number} of model {current.model_version} and MeSH {current.mesh_version} is shown since, "
        "and nothing was published in its place; run this again"
    )


def _check_rollback(home: Home, *, accept: str | None) -> None:
    if accept is None and (rollback := active_rollback(home)):
        why = f" ({rollback.why})" if rollback.why else ""
        raise PublishRefusedError(
            f"{rollback.by} went back from snapshot {rollback.left} to {rollback.shown}{why}, and publishing would "
            "show again what was withdrawn; remove what was wrong with it, then publish with --accept WHY "
            "(e2emern snapshots publish)"
        )


def _pass_gate(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    before: Snapshot | None,
    snapshot: Snapshot,
    *,
    limits: Limits,
    accept: str | None,
) -> Snapshot:
    """Returns the snapshot with what it exceeds and who accepts that. Raises `PublishRefusedError` if nobody does."""
    found: list[str] = []
    if before and before.documents >= limits.least_documents:
        connection.execute(f"ATTACH {views.literal(str(home.snapshot(before.number)))} AS before (READ_ONLY)")
        was = _figures(before, branch_shares(connection, "before.concepts"))
        found = exceeded(was, _figures(snapshot, branch_shares(connection, "concepts")), limits=limits)
    if found and accept is None:
        raise PublishRefusedError(
            f"{'; '.join(found)}; nothing was published: put it right, or publish it all the same with --accept WHY "
            "(e2emern snapshots publish)"
        )
    return replace(
        snapshot,
        previous=before.number if before else None,
        exceeded="; ".join(found) or None,
        accepted=None if accept is None else f"{login()}: {accept}",
    )


def _figures(snapshot: Snapshot, branches: dict[str, float]) -> Figures:
    return Figures(
        model_version=snapshot.model_version,
        mesh_version=snapshot.mesh_version,
        documents=snapshot.documents,
        mentions=snapshot.mentions,
        linked=snapshot.linked,
        branches=branches,
    )


def _describe(connection: duckdb.DuckDBPyConnection, contents: Contents) -> Snapshot:
    """Counts what the views show."""
    sources, damaged, rows, failures, deletions = _one_row(
        connection,
        """
        SELECT count(*), count(*) FILTER (status = 'damaged'), sum(documents), sum(failed), sum(deleted)
        FROM sources WHERE current
        """,
    )
    superseded, hidden = _one_row(connection, "SELECT count(*), count(*) FILTER (reason <> 'reissued') FROM superseded")
    linked, concepts = _one_row(connection, "SELECT coalesce(sum(mentions), 0), count(*) FROM concepts")
    (mentions,) = _one_row(connection, "SELECT count(*) FROM mentions")
    return Snapshot(
        number=next_number(contents.home),
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


def _one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(int(value) for value in row)
