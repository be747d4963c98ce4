"""What goes into a snapshot: every finished source with its books and files, the order of sources, the runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from warehouse import catalog
from warehouse.errors import PublishRefusedError, WarehouseError
from warehouse.layout import Home, SourceKey
from warehouse.ledger import SourceBooks, read_books
from warehouse.revisions import SUPERSEDED_SQL, precedence, sightings
from warehouse.runs import RunRecord, read_runs
from warehouse.verify import verify_sources

# Every view of sources, and the files of a source that it reads.
SOURCE_VIEWS = {
    "documents": ("documents",),
    "mentions": ("mentions",),
    "failures": ("failures", "unread"),
    "deletions": ("deletions",),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A finished source and its files."""

    books: SourceBooks
    mentions: int  # rows
    files: dict[str, Path]  # documents, mentions, failures, unread, deletions


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that a snapshot of one model and vocabulary shows."""

    home: Home
    model_version: str
    mesh_version: str
    runs: Sequence[RunRecord]
    sources: Mapping[SourceKey, Source]
    current: Sequence[SourceKey]  # lowest rank first
    reissued: Sequence[SourceKey]  # replaced by newer content of the same name

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides what the views show: where, what, in which order, by which definitions."""
        shown = [str(self.home.root), self.model_version, self.mesh_version, catalog.DEFINITION]
        shown += [f"{key.stem} {rank}" for rank, key in enumerate(self.current)]
        shown += [key.stem for key in self.reissued]
        return hashlib.sha256("\n".join(shown).encode()).hexdigest()


def gather(home: Home, *, model_version: str, mesh_version: str) -> Contents:
    """Returns what is finished. Raises `WarehouseError` when there is nothing, or no vocabulary."""
    runs = read_runs(home)
    sources = _finished(home, model_version=model_version, mesh_version=mesh_version)
    current, reissued = precedence(sources, sightings(runs))
    return Contents(
        home=home,
        model_version=model_version,
        mesh_version=mesh_version,
        runs=runs,
        sources=sources,
        current=current,
        reissued=reissued,
    )


def fill(connection: duckdb.DuckDBPyConnection, contents: Contents, *, verified: set[SourceKey]) -> None:
    """Creates every view and table but `snapshot`, and checks the sources that are not yet verified.

    Raises `PublishRefusedError` or `UnbalancedError` with the first fault found.
    """
    home, sources, mesh_version = contents.home, contents.sources, contents.mesh_version
    seen = sightings(contents.runs)
    ranks: dict[SourceKey, int | None] = {key: rank for rank, key in enumerate(contents.current)}
    ranks |= dict.fromkeys(contents.reissued)
    catalog.create_table(
        connection, "sources", [_source_row(sources[key], rank, seen.get(key)) for key, rank in ranks.items()]
    )
    _check_presence(sources)
    verify_sources(
        connection,
        {key: (one.books.counts, one.mentions, one.files) for key, one in sources.items() if key not in verified},
        model_version=contents.model_version,
        mesh_version=mesh_version,
    )
    for table, kind in (("record", "documents"), ("deletion", "deletions")):
        every = catalog.file_list(source.files[kind] for source in sources.values())
        connection.execute(f"CREATE TEMP VIEW {table} AS FROM read_parquet({every})")
    catalog.create_table(connection, "superseded", [])
    connection.execute(f"INSERT INTO superseded {SUPERSEDED_SQL}")

    rows: list[dict[str, object]] = []
    for view, kinds in SOURCE_VIEWS.items():
        files = [(sources[key].files[kind], key) for kind in kinds for key in contents.current]
        catalog.create_view(connection, view, [path for path, _ in files])
        rows += [_file_row(home, view, path, key) for path, key in files]
    for view, path in (("entities", home.entities(mesh_version)), ("entity_tree", home.entity_tree(mesh_version))):
        catalog.create_view(connection, view, [path])
        rows.append(_file_row(home, view, path, None))
    catalog.create_annotations(connection)
    catalog.create_table(connection, "files", rows)
    catalog.create_table(connection, "runs", [_run_row(run) for run in contents.runs])
    catalog.create_table(connection, "models", [_model_row(home, contents.model_version)])


def _finished(home: Home, *, model_version: str, mesh_version: str) -> dict[SourceKey, Source]:
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
            "unread": home.unread(books.key, model_version=model_version, mesh_version=mesh_version),
            "deletions": home.deletions(books.key),
        }
        finished[books.key] = Source(books, pq.read_metadata(path).num_rows, files)
    return finished


def _check_presence(sources: Mapping[SourceKey, Source]) -> None:
    for source in sources.values():
        for path in source.files.values():
            if not path.exists():
                raise PublishRefusedError(
                    f"{path} is missing; delete {source.files['mentions']} and annotate {source.books.key.name} again"
                )


def _source_row(source: Source, rank: int | None, seen: tuple[str, str] | None) -> dict[str, object]:
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
