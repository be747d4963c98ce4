"""Collect what a snapshot shows (finished sources, their order, the runs), and create its views and tables.

Files never change, so what the previous snapshot recorded of a source is not read from its files again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from e2emern.warehouse.errors import PublishRefusedError, WarehouseError
from e2emern.warehouse.files import revalidate
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.parquet import verify_pages
from e2emern.warehouse.quoting import file_list
from e2emern.warehouse.registry.evaluations import check_rows, figure_rows, ledger, model_rows
from e2emern.warehouse.snapshots import views
from e2emern.warehouse.snapshots.compaction import Group, merge, merged_groups, plan
from e2emern.warehouse.snapshots.deletion_vectors import Shown, hide
from e2emern.warehouse.snapshots.file_stats import FileFacts, file_facts, known_or_read
from e2emern.warehouse.snapshots.precedence import SUPERSEDED_SQL, precedence
from e2emern.warehouse.sources.checks import verify_sources
from e2emern.warehouse.sources.counts import SourceCounts, SourceSummary, read_source_summary
from e2emern.warehouse.sources.history import History, read_history
from e2emern.warehouse.sources.runs import RunRecord

Known = dict[str, tuple[SourceSummary, int]]

_CONCEPTS_SQL = """
SELECT mesh_id, any_value(mesh_name), count(*) FROM mentions WHERE mesh_id IS NOT NULL GROUP BY mesh_id ORDER BY mesh_id
"""
# Every view over sources, and the kinds of files that it reads.
SOURCE_VIEWS = {
    "documents": ("documents",),
    "mentions": ("mentions",),
    "failures": ("failures", "unread"),
    "deletions": ("deletions",),
}
_VERIFIED_AT_ONCE = 32  # sources; the mentions of a whole baseline would not fit in memory
_VERIFIERS = 2  # threads
# Columns from which the tables of a snapshot are made.
_READ = {
    "documents": ("source", "digest", "record", "document_id", "pmid", "version"),
    "deletions": ("source", "digest", "record", "pmid", "version"),
    "mentions": ("mesh_id", "mesh_name"),
}
_HIDING = ("documents", "mentions")  # views that omit superseded rows


@dataclass(frozen=True, slots=True)
class Source:
    """A finished source and its files."""

    summary: SourceSummary
    mentions: int  # rows
    files: dict[str, Path]  # documents, mentions, failures, unread, deletions


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that a snapshot of one model and vocabulary shows. `merged` are the groups already merged."""

    home: Home
    versions: Versions
    history: History
    sources: Mapping[SourceKey, Source]
    current: Sequence[SourceKey]  # lowest rank first
    reissued: Sequence[SourceKey]  # replaced by newer content of the same name
    merged: Sequence[Group]

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines what the views show: versions, sources in order, definitions."""
        shown = [self.versions.model, self.versions.mesh, views.DEFINITION]
        shown += [f"{key.stem} {rank}" for rank, key in enumerate(self.current)]
        shown += [key.stem for key in self.reissued]
        shown += ledger(self.home)
        return hashlib.sha256("\n".join(shown).encode()).hexdigest()


def collect(home: Home, versions: Versions, *, known: Known | None = None, merged: Sequence[Group] = ()) -> Contents:
    """Return all finished work that is not withdrawn.

    `known` holds the summaries of sources and their numbers of mentions, by file stem. Raises `WarehouseError` if
    nothing is finished or the vocabulary is missing.
    """
    history = read_history(home)
    withdrawn = history.withdrawn
    finished = _finished(home, versions, known=known or {})
    sources = {key: source for key, source in finished.items() if key not in withdrawn}
    if not sources:
        raise WarehouseError("has no source that is not withdrawn; annotate one first", path=home.root)
    current, reissued = precedence(sources, history.first_and_last_seen)
    return Contents(
        home=home,
        versions=versions,
        history=history,
        sources=sources,
        current=current,
        reissued=reissued,
        merged=merged,
    )


def load_previous(connection: duckdb.DuckDBPyConnection) -> tuple[Known, list[Group]]:
    """Return the summaries of the sources of an open snapshot, and its merged groups."""
    counts = [field.name for field in fields(SourceCounts)]
    known: Known = {}
    for name, digest, form, size, status, error, mentions, *numbers in connection.execute(
        f"SELECT source, digest, format, bytes, status, error, mentions, {', '.join(counts)} FROM sources"
    ).fetchall():
        key = SourceKey(name, digest)
        summary = SourceSummary(
            key=key,
            format=form,
            bytes=size,
            counts=SourceCounts(**dict(zip(counts, numbers, strict=True))),
            status=status,
            error=error,
        )
        known[key.stem] = (summary, mentions)
    return known, [*merged_groups(connection).values()]


def merge_missing(contents: Contents, facts: Mapping[str, FileFacts]) -> dict[str, FileFacts]:
    """Write merged files again that were deleted; their rows are still in the files of the sources.

    Return the facts of all files, without those of a file that differs now: another version of Arrow can write other
    bytes. Raises `WarehouseError` if a file of a source is damaged.
    """
    still = dict(facts)
    for group in contents.merged:
        merge(contents.home, group, {key: contents.sources[key].files for key in group.keys}, facts=still)
    written = {path: facts[path] for path in facts.keys() - still.keys()}
    return still | {path: one for path, one in written.items() if file_facts(contents.home.root / path) == one}


def build(
    connection: duckdb.DuckDBPyConnection,
    contents: Contents,
    *,
    verified: set[SourceKey],
    facts: Mapping[str, FileFacts],
) -> None:
    """Create every view and table except `snapshot`, and check the sources that are not yet verified.

    `facts` are the recorded facts of files that were published before; other files are read in full. Raises
    `PublishRefusedError` or `CountMismatchError` with the first fault found, `WarehouseError` for a damaged file.
    """
    home, sources, versions = contents.home, contents.sources, contents.versions
    seen = contents.history.first_and_last_seen
    ranks: dict[SourceKey, int | None] = {key: rank for rank, key in enumerate(contents.current)}
    ranks |= dict.fromkeys(contents.reissued)
    views.create_home(connection, home.root)
    by = contents.history.annotators(versions)
    views.create_table(
        connection,
        "sources",
        [_source_row(sources[key], rank, seen.get(key), by.get(key)) for key, rank in ranks.items()],
    )
    sizes = _sizes(sources)  # refuses a missing file before any is read
    _verify_new(connection, contents, verified=verified)
    of_sources = {
        path: (key, known_or_read(home.root, path, known=facts))
        for key in contents.current
        for path in (path.relative_to(home.root) for path in sources[key].files.values())
    }
    facts = dict(facts) | {path.as_posix(): one for path, (_, one) in of_sources.items()}
    files, order = _merge_small(contents, sizes, facts)
    _verify_read(files.values())
    for table, kind in (("record", "documents"), ("deletion", "deletions")):
        every = file_list(dict.fromkeys(each[kind] for each in files.values()))
        connection.execute(f"CREATE TEMP VIEW {table} AS FROM read_parquet({every})")
    views.create_table(connection, "superseded", [])
    connection.execute(f"INSERT INTO superseded {SUPERSEDED_SQL}")
    views.create_table(connection, "hidden", [])

    rows = _create_source_views(connection, contents, files=files, order=order, facts=facts)
    for view, path in (("entities", home.entities(versions.mesh)), ("entity_tree", home.entity_tree(versions.mesh))):
        relative = path.relative_to(home.root)
        views.create_view(connection, view, [relative])
        rows.append(_file_row(view, relative, None, known_or_read(home.root, relative, known=facts)))
    read = {row["path"] for row in rows}
    rows += [_file_row(None, path, key, one) for path, (key, one) in of_sources.items() if path.as_posix() not in read]
    views.create_lists(connection)
    views.create_table(connection, "files", rows)
    views.create_table(connection, "concepts", [])
    connection.execute(f"INSERT INTO concepts {_CONCEPTS_SQL}")
    views.create_table(connection, "runs", [_run_row(run) for run in contents.history.runs])
    views.create_table(connection, "models", model_rows(home, shown=versions.model))
    views.create_table(connection, "evaluations", list(figure_rows(home)))
    views.create_table(connection, "checks", list(check_rows(home)))


def _verify_new(connection: duckdb.DuckDBPyConnection, contents: Contents, *, verified: set[SourceKey]) -> None:
    """Check the sources that are not yet verified, some at a time."""
    unverified = [(key, source) for key, source in contents.sources.items() if key not in verified]
    for first in range(0, len(unverified), _VERIFIED_AT_ONCE):
        some = unverified[first : first + _VERIFIED_AT_ONCE]
        verify_sources(
            connection,
            {key: (source.summary.counts, source.mentions, source.files) for key, source in some},
            versions=contents.versions,
            vocabulary=contents.home.entities(contents.versions.mesh),
        )


def _create_source_views(
    connection: duckdb.DuckDBPyConnection,
    contents: Contents,
    *,
    files: Mapping[SourceKey, Mapping[str, Path]],
    order: Mapping[str, Sequence[SourceKey]],
    facts: Mapping[str, FileFacts],
) -> list[dict[str, object]]:
    """Create the views over the files of sources, and return the rows of the table `files` for what they read."""
    root = contents.home.root
    rows: list[dict[str, object]] = []
    documents = {key: source.summary.counts.documents for key, source in contents.sources.items()}
    for view, kinds in SOURCE_VIEWS.items():
        holding: dict[Path, list[SourceKey]] = {}
        for kind in kinds:
            for key in order[kind]:
                holding.setdefault(files[key][kind].relative_to(root), []).append(key)
        known = {path: known_or_read(root, path, known=facts) for path in holding}
        rows += [_file_row(view, path, key, known[path]) for path, keys in holding.items() for key in keys]
        shown = Shown(tuple(holding))
        if view in _HIDING:
            shown = hide(connection, view, holding=holding, documents=documents)
        views.create_view(connection, view, shown.whole, partly=shown.partly, merged=shown.merged)
    return rows


def _merge_small(
    contents: Contents, sizes: Mapping[str, Mapping[SourceKey, int]], facts: dict[str, FileFacts]
) -> tuple[dict[SourceKey, dict[str, Path]], dict[str, list[SourceKey]]]:
    """Merge small files, and return the files of each source by kind, and the order of the sources of each kind."""
    files = {key: dict(source.files) for key, source in contents.sources.items()}
    order: dict[str, list[SourceKey]] = {}
    for kind, of_kind in sizes.items():
        current = {key: of_kind[key] for key in contents.current}
        existing = [group for group in contents.merged if group.kind == kind and current.keys() >= {*group.keys}]
        groups = plan(kind, current, existing=existing)
        for group in (*existing, *groups):
            merged = merge(contents.home, group, files, facts=facts)
            for key in group.keys:
                files[key][kind] = merged
        # in merge order, so that a merged file can be written again byte for byte
        order[kind] = list(dict.fromkeys((*(key for group in groups for key in group.keys), *contents.current)))
    return files, order


def _verify_read(files: Iterable[Mapping[str, Path]]) -> None:
    """Verify the columns from which the tables of a snapshot are made. Raises `WarehouseError` for a damaged file."""
    read = {each[kind]: columns for each in files for kind, columns in _READ.items()}
    with ThreadPoolExecutor(_VERIFIERS) as threads:
        for _ in threads.map(lambda path: verify_pages(path, columns=read[path]), read):
            pass


def _finished(home: Home, versions: Versions, *, known: Known) -> dict[SourceKey, Source]:
    """Find every source with a mentions file, and read its record counts from that file."""
    folder = home.mentions_folder(versions)
    revalidate(folder)
    paths = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if not paths:
        raise WarehouseError("has no mentions; annotate something first", path=folder)
    for path in (home.entities(versions.mesh), home.entity_tree(versions.mesh)):
        if not path.exists():
            raise WarehouseError(f"vocabulary {versions.mesh} is missing: {path} does not exist; import it first")
    finished = {}
    for path in paths:
        if path.stem in known:
            summary, mentions = known[path.stem]
        else:
            summary, mentions = read_source_summary(path), pq.read_metadata(path).num_rows
        if path.stem != summary.key.stem:
            raise PublishRefusedError(
                f"holds the record counts of {summary.key.stem}; delete it and annotate again",
                path=path,
            )
        files = {
            "documents": home.documents(summary.key),
            "mentions": path,
            "failures": home.failures(summary.key),
            "unread": home.unread(summary.key, versions),
            "deletions": home.deletions(summary.key),
        }
        finished[summary.key] = Source(summary, mentions, files)
    return finished


def _sizes(sources: Mapping[SourceKey, Source]) -> dict[str, dict[SourceKey, int]]:
    """Return the bytes of the files of every source, by kind. Raises `PublishRefusedError` if one is missing."""
    sizes: dict[str, dict[SourceKey, int]] = {}
    for key, source in sources.items():
        for kind, path in source.files.items():
            try:
                sizes.setdefault(kind, {})[key] = path.stat().st_size
            except FileNotFoundError:
                raise PublishRefusedError(
                    f"is missing; delete {source.files['mentions']} and annotate {key.name} again",
                    path=path,
                ) from None
    return sizes


def _source_row(
    source: Source, rank: int | None, seen: tuple[str, str] | None, annotated_by: str | None
) -> dict[str, object]:
    summary = source.summary
    first_run, last_run = seen or (None, None)
    return {
        "source": summary.key.name,
        "digest": summary.key.digest,
        "rank": rank,
        "current": rank is not None,
        "format": summary.format,
        "bytes": summary.bytes,
        "status": summary.status,
        "error": summary.error,
        **asdict(summary.counts),
        "mentions": source.mentions,
        "first_run": first_run,
        "last_run": last_run,
        "annotated_by": annotated_by,
    }


def _file_row(view: str | None, path: Path, key: SourceKey | None, facts: FileFacts) -> dict[str, object]:
    return {
        "view": view,
        "path": path.as_posix(),
        "source": key and key.name,
        "digest": key and key.digest,
        **asdict(facts),
    }


def _run_row(run: RunRecord) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "started": datetime.fromisoformat(run.started),
        "finished": run.finished and datetime.fromisoformat(run.finished),
        "host": run.host,
        "sources": len(run.sources) + run.unchanged,
        "versions": json.dumps(run.versions),
        "options": json.dumps(run.options),
        "stages": json.dumps(run.stages),
        "error": run.error,
    }
