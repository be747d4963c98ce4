"""Publishes a snapshot: a small DuckDB file of views over finished Parquet files, checked before it is shown.

The file is built beside, checked, and renamed to `snapshots/<number>.duckdb`; then the link `warehouse.duckdb`
is replaced in one step. A link, not a copy: DuckDB resolves it when it opens, so a reader keeps the snapshot it
has opened, one number names one file, and going back is another link. Snapshots are read-only files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from warehouse import catalog
from warehouse.errors import PublishRefusedError, WarehouseError
from warehouse.files import sync
from warehouse.layout import Home, SourceKey
from warehouse.ledger import SourceBooks, read_books
from warehouse.revisions import SUPERSEDED_SQL, precedence, sightings
from warehouse.runs import RunRecord, read_runs
from warehouse.verify import verify_sources

SOURCE_VIEWS = ("documents", "mentions", "failures", "deletions")


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


@dataclass(frozen=True, slots=True)
class _Source:
    """A finished source and its files."""

    books: SourceBooks
    mentions: int  # rows
    files: dict[str, Path]  # by view


def publish(home: Home, *, model_version: str, mesh_version: str) -> Snapshot:
    """Publishes all finished sources of one model and vocabulary, or returns the current snapshot if it shows them.

    Waits for another publisher. Raises `PublishRefusedError` when books do not balance, a file is missing or
    has rows of another source, a mention has no document or stands twice; `WarehouseError` when the home has no
    finished source or no vocabulary. Nothing is changed then.
    """
    home = Home(home.root.resolve())
    with _publisher(home):
        runs = read_runs(home)
        before = current_snapshot(home)
        finished = _finished(home, model_version=model_version, mesh_version=mesh_version)
        seen = sightings(runs)
        current, reissued = precedence(finished, seen)
        fingerprint = _fingerprint(home, model_version, mesh_version, current, reissued)
        if before and before.fingerprint == fingerprint:
            return Snapshot(**(asdict(before) | {"unchanged": True}))

        verified = (
            _keys(home)
            if before and (before.model_version, before.mesh_version) == (model_version, mesh_version)
            else set()
        )
        building = home.snapshots / ".building.duckdb"
        _remove(building)
        try:
            with duckdb.connect(str(building)) as connection:
                connection.begin()
                _fill(connection, home, finished, current, reissued, runs, verified, model_version, mesh_version)
                snapshot = _describe(connection, home, model_version, mesh_version, fingerprint)
                connection.commit()
            sync(building)
            building.chmod(0o444)
            building.rename(home.snapshot(snapshot.number))
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


def _finished(home: Home, *, model_version: str, mesh_version: str) -> dict[SourceKey, _Source]:
    """Finds every source with a mentions file. The books stand in that file; the other files must be there too."""
    folder = home.mentions_folder(model_version=model_version, mesh_version=mesh_version)
    paths = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if not paths:
        raise WarehouseError(f"{folder} has no mentions; annotate something first")
    for path in (home.entities(mesh_version), home.entity_tree(mesh_version)):
        if not path.exists():
            raise WarehouseError(f"vocabulary {mesh_version} is missing: {path} is not there; import it first")
    finished = {}
    for path in paths:
        books = read_books(path)
        if path.stem != books.key.stem:
            raise PublishRefusedError(f"{path} holds the books of {books.key.stem}; delete it and annotate again")
        files = {
            "documents": home.documents(books.key),
            "mentions": path,
            "failures": home.failures(books.key),
            "deletions": home.deletions(books.key),
        }
        finished[books.key] = _Source(books, pq.read_metadata(path).num_rows, files)
    return finished


def _fill(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    finished: dict[SourceKey, _Source],
    current: Sequence[SourceKey],
    reissued: Sequence[SourceKey],
    runs: Sequence[RunRecord],
    verified: set[SourceKey],
    model_version: str,
    mesh_version: str,
) -> None:
    seen = sightings(runs)
    ranks: dict[SourceKey, int | None] = {key: rank for rank, key in enumerate(current)}
    ranks |= dict.fromkeys(reissued)
    catalog.create_table(
        connection, "sources", [_source_row(finished[key], rank, seen.get(key)) for key, rank in ranks.items()]
    )
    _check_presence(finished)
    verify_sources(
        connection,
        {key: (one.books.counts, one.mentions, one.files) for key, one in finished.items() if key not in verified},
        model_version=model_version,
        mesh_version=mesh_version,
    )
    everything = {view: [source.files[view] for source in finished.values()] for view in SOURCE_VIEWS}
    for table, view in (("record", "documents"), ("deletion", "deletions")):
        connection.execute(f"CREATE TEMP VIEW {table} AS FROM read_parquet({catalog.file_list(everything[view])})")
    catalog.create_table(connection, "superseded", [])
    connection.execute(f"INSERT INTO superseded {SUPERSEDED_SQL}")

    rows: list[dict[str, object]] = []
    for view in SOURCE_VIEWS:
        catalog.create_view(connection, view, [finished[key].files[view] for key in current])
        rows += [_file_row(home, view, finished[key].files[view], key) for key in current]
    for view, path in (("entities", home.entities(mesh_version)), ("entity_tree", home.entity_tree(mesh_version))):
        catalog.create_view(connection, view, [path])
        rows.append(_file_row(home, view, path, None))
    catalog.create_annotations(connection)
    catalog.create_table(connection, "files", rows)
    catalog.create_table(connection, "runs", [_run_row(run) for run in runs])
    catalog.create_table(connection, "models", [_model_row(home, model_version)])


def _describe(
    connection: duckdb.DuckDBPyConnection, home: Home, model_version: str, mesh_version: str, fingerprint: str
) -> Snapshot:
    numbers = [int(path.stem) for path in home.snapshots.glob("*.duckdb") if path.stem.isdigit()]
    sources, damaged, rows, failures, deletions = _one_row(
        connection,
        """
        SELECT count(*), count(*) FILTER (status = 'damaged'), sum(documents), sum(failed), sum(deleted)
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
        model_version=model_version,
        mesh_version=mesh_version,
        sources=sources,
        damaged=damaged,
        documents=rows - hidden,
        mentions=mentions,
        linked=linked,
        concepts=concepts,
        failures=failures,
        deletions=deletions,
        superseded=superseded,
        fingerprint=fingerprint,
    )
    described = asdict(snapshot)
    del described["unchanged"]
    catalog.create_table(connection, "snapshot", [described])
    return snapshot


def _one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(int(value) for value in row)


def _check_presence(finished: dict[SourceKey, _Source]) -> None:
    for source in finished.values():
        for path in source.files.values():
            if not path.exists():
                raise PublishRefusedError(
                    f"{path} is missing; delete {source.files['mentions']} and annotate {source.books.key.name} again"
                )


def _fingerprint(
    home: Home, model_version: str, mesh_version: str, current: Sequence[SourceKey], reissued: Sequence[SourceKey]
) -> str:
    """Digests all that decides what the views show: where, what, in which order, by which definitions."""
    shown = [str(home.root), model_version, mesh_version, catalog.DEFINITION]
    shown += [f"{key.stem} {rank}" for rank, key in enumerate(current)]
    shown += [key.stem for key in reissued]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()


def _source_row(source: _Source, rank: int | None, seen: tuple[str, str] | None) -> dict[str, object]:
    books = source.books
    first_run, last_run = seen or (None, None)
    return {
        "source": books.key.name,
        "digest": books.key.digest,
        "rank": rank,
        "current": rank is not None,
        "format": books.format,
        "bytes": books.bytes,
        "status": books.status,
        "error": books.error,
        **asdict(books.counts),
        "mentions": source.mentions,
        "first_run": first_run,
        "last_run": last_run,
    }


def _file_row(home: Home, view: str, path: Path, key: SourceKey | None) -> dict[str, object]:
    return {
        "view": view,
        "path": path.relative_to(home.root).as_posix(),
        "source": key and key.name,
        "digest": key and key.digest,
    }


def _run_row(run: RunRecord) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "started": datetime.fromisoformat(run.started),
        "finished": run.finished and datetime.fromisoformat(run.finished),
        "host": run.host,
        "sources": len(run.sources),
        "versions": json.dumps(run.versions),
        "options": json.dumps(run.options),
        "stages": json.dumps(run.stages),
        "error": run.error,
    }


def _model_row(home: Home, model_version: str) -> dict[str, object]:
    metrics = home.model(model_version) / "metrics.json"
    return {"model_version": model_version, "metrics": metrics.read_text() if metrics.exists() else None}


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
