"""Publish a snapshot: a small DuckDB file of views over finished Parquet files, checked before it is shown.

The file is built under a temporary name, checked against its sources and the previous snapshot, and renamed. Then the
link `warehouse.duckdb` is replaced atomically. A number is used once and the file never changes; only the folder that
it reads from is replaced if the home has moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from warehouse.errors import OvertakenError, PublishRefusedError, WarehouseError
from warehouse.layout import Home, Versions
from warehouse.snapshots import views
from warehouse.snapshots.build import Contents, Known, build, collect, load_previous, merge_missing
from warehouse.snapshots.compaction import Group
from warehouse.snapshots.file_stats import FileFacts, as_recorded, recorded_facts
from warehouse.snapshots.publish_gate import Figures, Limits, branch_shares, exceeded
from warehouse.snapshots.refs import (
    active_rollback,
    commit,
    current_number,
    login,
    next_number,
    numbers,
    opened,
    publisher,
    relocate_current,
    set_current,
    staging_file,
)
from warehouse.wording import one_line

_MEMORY = "2GB"  # for DuckDB, which spills the rest to disk next to the staging file


Operation = Literal["annotate", "backfill", "relink", "evaluate", "publish"]
"""What published a snapshot; `publish` is the command, which annotates nothing."""


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


def publish(
    home: Home,
    versions: Versions,
    *,
    operation: Operation = "publish",
    limits: Limits | None = None,
    accept: str | None = None,
    over: Snapshot | None = None,
) -> Snapshot:
    """Publish all finished sources of one model and vocabulary, or return the current snapshot if it shows them.

    The snapshot records `operation`. `accept` is the reason to override limits and a rollback, recorded with the login
    name. `over` is the snapshot that was current when model and vocabulary were chosen. Waits for another publisher.
    Any error leaves the home unchanged:

    - `OvertakenError` if another snapshot than `over` is current by then.
    - `PublishRefusedError` if record counts do not reconcile, a file is missing or has rows of another source, a
      mention has no document or is duplicated, a figure exceeds its limit, or a rollback is active.
    - `WarehouseError` if the home has no finished source or no vocabulary, or its current snapshot cannot be read.
    """
    home = Home(home.root.resolve())
    with publisher(home):
        relocate_current(home)
        before, known, merged, facts = _previous(home, versions)
        contents = collect(home, versions, known=known, merged=merged)
        if before and facts and before.fingerprint == contents.fingerprint:
            merge_missing(contents)
            return replace(before, unchanged=True)
        if before and over and before.number != over.number:
            raise _overtaken(before)
        _check_rollback(home, accept=accept)

        verified = {summary.key for summary, _ in known.values()}
        try:
            with staging_file(home) as path:
                with opened(path, config={"memory_limit": _MEMORY}) as connection:
                    connection.begin()
                    build(connection, contents, verified=verified, facts=facts)
                    snapshot = _describe(connection, contents, operation)
                    snapshot = _pass_gate(connection, home, before, snapshot, limits=limits or Limits(), accept=accept)
                    described = asdict(snapshot)
                    del described["unchanged"]
                    views.create_table(connection, "snapshot", [described])
                    connection.commit()
                commit(path, home.snapshot(snapshot.number))
        except duckdb.Error as error:  # an unreadable file or a full disk: DuckDB's message says which
            reason = one_line(error)
            raise PublishRefusedError(f"nothing was published, {home.root} stays as it was: {reason}") from error
        set_current(home, snapshot.number)
        return snapshot


def current_snapshot(home: Home) -> Snapshot | None:
    """Return the snapshot that `warehouse.duckdb` shows, or None when nothing was published yet.

    Raises `WarehouseError` if it is not a link to a snapshot, or the snapshot cannot be opened.
    """
    number = current_number(home)
    return None if number is None else read_snapshot(home, number)


def still_current(home: Home, before: Snapshot, versions: Versions) -> Snapshot:
    """Return the current snapshot, if a snapshot of this model and vocabulary may still replace it.

    Raises `OvertakenError` if it has neither these versions nor those of `before`, the snapshot to replace.
    """
    current = read_snapshot(home)
    if current.versions not in {before.versions, versions}:
        raise _overtaken(current)
    return current


def read_snapshot(home: Home, number: int | None = None) -> Snapshot:
    """Return the description of a snapshot, by default the current one.

    Raises `WarehouseError` if it does not exist or cannot be opened.
    """
    with open_snapshot(home, number) as connection:
        return _read(home, connection)


@contextmanager
def open_snapshot(
    home: Home, number: int | None = None, *, config: dict[str, Any] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a snapshot read-only, by default the current one, as the default catalog of a new DuckDB connection.

    Its files are read from the present location of the home. Raises `WarehouseError` if nothing was published, there is
    no such snapshot, `warehouse.duckdb` is not a link to one, or the file cannot be opened.
    """
    home.check()
    current = current_number(home)
    if current is None:
        raise WarehouseError(f"{home.root} has no snapshot yet; annotate something into it first")
    if number is not None and number not in (existing := numbers(home)):
        raise WarehouseError(f"{home.root} has no snapshot {number}; found {', '.join(map(str, existing))}")
    with open_path(home, home.snapshot(current if number is None else number), config=config) as connection:
        yield connection


@contextmanager
def open_path(home: Home, path: Path, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a snapshot file like `open_snapshot`. Raises `WarehouseError` if it cannot be opened."""
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
        raise WarehouseError(f"{home.root} has a malformed snapshot ({reason}); publish into a new home") from error
    return Snapshot(**dict(zip(names, values, strict=True)))


def _previous(home: Home, versions: Versions) -> tuple[Snapshot | None, Known, list[Group], dict[str, FileFacts]]:
    """Return the current snapshot, the summaries of its sources, its merged groups and the facts of its files.

    If a file changed since, as after a repair, return only the snapshot, so that everything is read again.
    """
    if not home.warehouse.is_symlink():
        return None, {}, [], {}
    with open_snapshot(home) as connection:
        before = _read(home, connection)
        known, merged = load_previous(connection)
        facts = recorded_facts(connection)
    if not as_recorded(home.root, facts):
        return before, {}, [], {}
    if before.versions != versions:
        known, merged = {}, [group for group in merged if not group.of_model]  # the others are of another model's files
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
    """Return the snapshot with the limits it exceeds and who accepted that. Raises `PublishRefusedError` otherwise."""
    found: list[str] = []
    if before and before.documents >= limits.least_documents:
        connection.execute(f"ATTACH {views.literal(str(home.snapshot(before.number)))} AS before (READ_ONLY)")
        was = _figures(before, branch_shares(connection, "before.concepts"))
        found = exceeded(was, _figures(snapshot, branch_shares(connection, "concepts")), limits=limits)
    if found and accept is None:
        raise PublishRefusedError(
            f"{'; '.join(found)}; nothing was published: correct it, or publish it anyway with --accept WHY "
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
        versions=snapshot.versions,
        documents=snapshot.documents,
        mentions=snapshot.mentions,
        linked=snapshot.linked,
        branches=branches,
    )


def _describe(connection: duckdb.DuckDBPyConnection, contents: Contents, operation: Operation) -> Snapshot:
    """Count the rows of the views."""
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
        operation=operation,
        model_version=contents.versions.model,
        mesh_version=contents.versions.mesh,
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
