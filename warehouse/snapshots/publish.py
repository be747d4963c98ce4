"""Publish a snapshot: a small DuckDB file of views over finished Parquet files, checked before it is shown.

The file is built under a temporary name, checked against its sources and the previous snapshot, and renamed. Then the
link `warehouse.duckdb` is replaced atomically. A number is used once and the file never changes; only the folder that
it reads from is replaced if the home has moved.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import duckdb

from e2emern.warehouse.errors import OvertakenError, PublishRefusedError
from e2emern.warehouse.files import revalidate
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.login import login
from e2emern.warehouse.quarantine import made_again
from e2emern.warehouse.snapshots import views
from e2emern.warehouse.snapshots.build import Contents, build, collect, folders, merge_missing
from e2emern.warehouse.snapshots.compaction import Group, merged_groups
from e2emern.warehouse.snapshots.file_stats import (
    FileFacts,
    file_facts,
    file_sizes,
    folder_of,
    recorded_facts,
    recorded_sizes,
)
from e2emern.warehouse.snapshots.opening import attach
from e2emern.warehouse.snapshots.publish_gate import Figures, Limits, branch_shares, exceeded
from e2emern.warehouse.snapshots.reader import (
    Operation,
    Snapshot,
    describe,
    known_sources,
    open_snapshot,
    read_snapshot,
)
from e2emern.warehouse.snapshots.refs import (
    active_rollback,
    commit,
    next_number,
    opened,
    publisher,
    relocate_current,
    set_current,
    staging_file,
)
from e2emern.warehouse.wording import one_line

_MEMORY = "2GB"  # for DuckDB, which spills the rest to disk next to the staging file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """What there is to show, and what of the current snapshot still holds.

    `unchanged` means that the snapshot shows the same; perhaps merged files were deleted. If nothing has to be built or
    written, the rest is empty: the sources that were checked before, the merged groups, and the facts of files.
    """

    contents: Contents
    before: Snapshot | None = None
    unchanged: bool = False
    verified: set[SourceKey] = field(default_factory=set)
    merged: list[Group] = field(default_factory=list)
    facts: dict[str, FileFacts] = field(default_factory=dict)


def publish(
    home: Home,
    versions: Versions,
    *,
    operation: Operation = "publish",
    limits: Limits | None = None,
    accept: str | None = None,
    over: Snapshot | None = None,
    make_current: bool = True,
) -> Snapshot:
    """Publish all finished sources of one model and vocabulary, or return the current snapshot if it shows them.

    The snapshot records `operation`. `accept` is the reason to override limits and a rollback, recorded with the login
    name. `over` is the snapshot that was current when model and vocabulary were chosen. Without `make_current`,
    the current snapshot stays current, so that the two can be compared. Waits for another publisher.

    Any error leaves the home unchanged:

    - `OvertakenError` if another snapshot than `over` is current by then.
    - `PublishRefusedError` if record counts do not reconcile, a file is missing or has rows of another source, a
      mention has no document or is duplicated, a figure exceeds its limit, or a rollback is active.
    - `WarehouseError` if the home has no finished source or no vocabulary, or its current snapshot cannot be read.
    """
    home = Home(home.root.resolve())
    with publisher(home):
        relocate_current(home)
        found = _compared(home, versions)
        before, contents, facts = found.before, found.contents, found.facts
        if found.unchanged and before:
            still = merge_missing(contents, found.merged, facts) if facts else facts
            if still == facts:
                return replace(before, unchanged=True)
            facts = still
        if before and over and before.number != over.number:
            raise _overtaken(before)
        _check_rollback(home, accept=accept)

        try:
            with staging_file(home) as path:
                with opened(path, config={"memory_limit": _MEMORY}) as connection:
                    connection.begin()
                    build(connection, contents, verified=found.verified, merged=found.merged, facts=facts)
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
        if make_current:
            set_current(home, snapshot.number)
        return snapshot


def still_current(home: Home, before: Snapshot, versions: Versions) -> Snapshot:
    """Return the current snapshot, if a snapshot of this model and vocabulary may still replace it.

    Raises `OvertakenError` if it has neither these versions nor those of `before`, the snapshot to replace.
    """
    current = read_snapshot(home)
    if current.versions not in {before.versions, versions}:
        raise _overtaken(current)
    return current


def _compared(home: Home, versions: Versions) -> _Compared:
    """Collect what there is to show, and compare it with the current snapshot.

    If a file changed since, as after a repair, nothing that the snapshot recorded counts, so that everything is read
    again. A file that replaces one in quarantine can differ even if its size is the same: it may reuse mentions of
    other sources.
    """
    needed = folders(home, versions)
    for folder in needed:  # other hosts write into them
        revalidate(home.root / folder)
    if not home.warehouse.is_symlink():
        return _Compared(contents=collect(home, versions, sizes=file_sizes(home.root, dict.fromkeys(needed))))
    with open_snapshot(home) as connection:
        before = describe(home, connection)
        recorded = recorded_sizes(connection)
        sizes = file_sizes(home.root, dict.fromkeys((*needed, *map(folder_of, recorded))))
        rewritten = {path.relative_to(home.root).as_posix(): path for path in made_again(home)}
        facts = recorded_facts(connection) if rewritten else {}
        differ = any(file_facts(path) != facts[name] for name, path in rewritten.items() if name in facts)
        whole = recorded.items() <= sizes.items()  # the usual case, and much faster than one by one
        if differ or not (whole or all(sizes.get(name, size) == size for name, size in recorded.items())):
            return _Compared(before=before, contents=collect(home, versions, sizes=sizes))
        same = before.versions == versions
        known = known_sources(connection) if same else {}
        contents = collect(home, versions, sizes=sizes, known=known)
        unchanged = before.fingerprint == contents.fingerprint
        if unchanged and whole:
            return _Compared(before=before, contents=contents, unchanged=True)
        return _Compared(
            before=before,
            contents=contents,
            unchanged=unchanged,
            verified={summary.key for summary, _ in known.values()},
            # those of a model are of the files of that model
            merged=[group for group in merged_groups(connection).values() if same or not group.of_model],
            facts=recorded_facts(connection),
        )


def _overtaken(current: Snapshot) -> OvertakenError:
    return OvertakenError(
        f"snapshot {current.number} of model {current.model_version} and MeSH {current.mesh_version} is current now, "
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
        attach(connection, home.snapshot(before.number), "before")
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
