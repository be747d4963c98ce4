"""Collect what a snapshot shows (finished sources, their order, the runs), and create its views and tables.

Files never change, so what the previous snapshot recorded about a source is not read from its files again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse.errors import PublishRefusedError, WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.parquet import verify_pages
from e2emern.warehouse.quoting import file_list
from e2emern.warehouse.registry.evaluations import check_rows, figure_rows, ledger, model_rows
from e2emern.warehouse.snapshots import views
from e2emern.warehouse.snapshots.compaction import Group, merge, plan
from e2emern.warehouse.snapshots.deletion_vectors import Shown, hide
from e2emern.warehouse.snapshots.file_stats import FileFacts, file_facts, folder_of
from e2emern.warehouse.snapshots.precedence import SUPERSEDED_SQL, precedence
from e2emern.warehouse.snapshots.reader import COUNTS, Known
from e2emern.warehouse.sources.checks import verify_sources
from e2emern.warehouse.sources.counts import SourceSummary, read_source_summary
from e2emern.warehouse.sources.history import History, read_history
from e2emern.warehouse.sources.runs import RunRecord

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
_numbers = attrgetter(*COUNTS)
# Columns from which the tables of a snapshot are made.
_READ = {
    "documents": ("source", "digest", "record", "document_id", "pmid", "version"),
    "deletions": ("source", "digest", "record", "pmid", "version"),
    "mentions": ("mesh_id", "mesh_name"),
}
_HIDING = ("documents", "mentions")  # views that omit superseded rows


@dataclass(frozen=True, slots=True)
class Source:
    """A finished source."""

    summary: SourceSummary
    mentions: int  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that a snapshot of one model and vocabulary shows; `sizes` are the bytes of files, by path in the home."""

    home: Home
    versions: Versions
    history: History
    sources: Mapping[SourceKey, Source]
    current: Sequence[SourceKey]  # lowest rank first
    reissued: Sequence[SourceKey]  # replaced by newer content of the same name
    sizes: Mapping[str, int]

    @property
    def files(self) -> dict[SourceKey, dict[str, str]]:
        """The files of each source by kind, relative to the home."""
        return {key: self.home.files(key, self.versions) for key in self.sources}

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines what the views show: versions, sources in order, definitions."""
        shown = [self.versions.model, self.versions.mesh, views.DEFINITION]
        shown += [f"{key.stem} {rank}" for rank, key in enumerate(self.current)]
        shown += [key.stem for key in self.reissued]
        shown += ledger(self.home)
        return hashlib.sha256("\n".join(shown).encode()).hexdigest()


def folders(home: Home, versions: Versions) -> list[str]:
    """Return the folders of the files of sources, relative to the home, in the order in which to list them.

    The mentions come first: a source that a worker finishes meanwhile has all other files before its mentions.
    """
    files = home.files(SourceKey("any", "0" * 16), versions)
    return [folder_of(path) for path in (files["mentions"], *files.values())]


def collect(
    home: Home,
    versions: Versions,
    *,
    sizes: Mapping[str, int],
    known: Known | None = None,
) -> Contents:
    """Return all finished work that is not withdrawn.

    `sizes` are the bytes of the files in `folders`. `known` holds the summaries of sources and their numbers of
    mentions, by file stem. Raises `WarehouseError` if nothing is finished or the vocabulary is missing.
    """
    history = read_history(home)
    finished = _finished(home, versions, sizes=sizes, known=known or {})
    withdrawn = history.withdrawn
    sources = {key: source for key, source in finished.items() if key not in withdrawn}
    if not sources:
        raise WarehouseError("has no source that is not withdrawn; annotate one first", path=home.root)
    current, reissued = precedence(sources, history.seen)
    return Contents(
        home=home,
        versions=versions,
        history=history,
        sources=sources,
        current=current,
        reissued=reissued,
        sizes=sizes,
    )


def merge_missing(contents: Contents, merged: Iterable[Group], facts: Mapping[str, FileFacts]) -> dict[str, FileFacts]:
    """Write the files of merged groups again that were deleted; their rows are still in the files of the sources.

    Return the facts of all files, without those of a file that differs now: another version of Arrow can write other
    bytes. Raises `WarehouseError` if a file of a source is damaged.
    """
    still, files = dict(facts), contents.files
    for group in merged:
        merge(contents.home, group, files, facts=still)
    written = {path: facts[path] for path in facts.keys() - still.keys()}
    return still | {path: one for path, one in written.items() if file_facts(contents.home.root / path) == one}


def build(
    connection: duckdb.DuckDBPyConnection,
    contents: Contents,
    *,
    verified: set[SourceKey],
    merged: Sequence[Group],
    facts: Mapping[str, FileFacts],
) -> None:
    """Create every view and table except `snapshot`, and check the sources that are not yet verified.

    `merged` are the groups already merged. `facts` are the facts of files that were published before and have their
    size; other files are read in full. Raises `PublishRefusedError` or `CountMismatchError` with the first fault found,
    `WarehouseError` for a damaged file.
    """
    home, sources, versions, own = contents.home, contents.sources, contents.versions, contents.files
    ranks: dict[SourceKey, int | None] = {key: rank for rank, key in enumerate(contents.current)}
    ranks |= dict.fromkeys(contents.reissued)
    views.create_home(connection, home.root)
    rows = [_source_row(sources[key], rank, contents.history, versions) for key, rank in ranks.items()]
    views.create_from(connection, "sources", _table("sources", rows))
    sizes = _sizes(contents, own)  # refuses a missing file before any is read
    _verify_new(connection, contents, own, verified=verified)
    of_sources = {path: key for key in contents.current for path in own[key].values()}
    facts = dict(facts)
    facts |= {path: file_facts(home.root / path) for path in of_sources if path not in facts}
    files, order = _merge_small(contents, own, sizes, merged=merged, facts=facts)
    _verify_read(home, files.values())
    for table, kind in (("record", "documents"), ("deletion", "deletions")):
        every = file_list(home.root / path for path in dict.fromkeys(each[kind] for each in files.values()))
        connection.execute(f"CREATE TEMP VIEW {table} AS FROM read_parquet({every})")
    views.create_table(connection, "superseded", [])
    connection.execute(f"INSERT INTO superseded {SUPERSEDED_SQL}")
    views.create_table(connection, "hidden", [])

    rows = _create_source_views(connection, contents, files=files, order=order, facts=facts)
    for view, path in (("entities", home.entities(versions.mesh)), ("entity_tree", home.entity_tree(versions.mesh))):
        relative = path.relative_to(home.root).as_posix()
        views.create_view(connection, view, [relative])
        rows.append(_file_row(view, relative, None, facts.get(relative) or file_facts(path)))
    read = {row[1] for row in rows}
    rows += [_file_row(None, path, key, facts[path]) for path, key in of_sources.items() if path not in read]
    views.create_lists(connection)
    views.create_from(connection, "files", _table("files", rows))
    views.create_table(connection, "concepts", [])
    connection.execute(f"INSERT INTO concepts {_CONCEPTS_SQL}")
    views.create_table(connection, "runs", [_run_row(run) for run in contents.history.runs])
    views.create_table(connection, "models", model_rows(home, shown=versions.model))
    views.create_table(connection, "evaluations", list(figure_rows(home)))
    views.create_table(connection, "checks", list(check_rows(home)))


def _verify_new(
    connection: duckdb.DuckDBPyConnection,
    contents: Contents,
    files: Mapping[SourceKey, Mapping[str, str]],
    *,
    verified: set[SourceKey],
) -> None:
    """Check the sources that are not yet verified, some at a time."""
    unverified = [(key, source) for key, source in contents.sources.items() if key not in verified]
    for first in range(0, len(unverified), _VERIFIED_AT_ONCE):
        some = unverified[first : first + _VERIFIED_AT_ONCE]
        verify_sources(
            connection,
            {key: (one.summary.counts, one.mentions, _absolute(contents.home, files[key])) for key, one in some},
            versions=contents.versions,
            vocabulary=contents.home.entities(contents.versions.mesh),
        )


def _create_source_views(
    connection: duckdb.DuckDBPyConnection,
    contents: Contents,
    *,
    files: Mapping[SourceKey, Mapping[str, str]],
    order: Mapping[str, Sequence[SourceKey]],
    facts: dict[str, FileFacts],
) -> list[tuple[object, ...]]:
    """Create the views over the files of sources, and return the rows of the table `files` for what they read."""
    root = contents.home.root
    rows: list[tuple[object, ...]] = []
    documents = {key: source.summary.counts.documents for key, source in contents.sources.items()}
    for view, kinds in SOURCE_VIEWS.items():
        holding: dict[str, list[SourceKey]] = {}
        for kind in kinds:
            for key in order[kind]:
                holding.setdefault(files[key][kind], []).append(key)
        facts |= {path: file_facts(root / path) for path in holding if path not in facts}
        rows += [_file_row(view, path, key, facts[path]) for path, keys in holding.items() for key in keys]
        shown = Shown(tuple(holding))
        if view in _HIDING:
            shown = hide(connection, view, holding=holding, documents=documents)
        views.create_view(connection, view, shown.whole, partly=shown.partly, merged=shown.merged)
    return rows


def _merge_small(
    contents: Contents,
    own: Mapping[SourceKey, Mapping[str, str]],
    sizes: Mapping[str, Mapping[SourceKey, int]],
    *,
    merged: Sequence[Group],
    facts: dict[str, FileFacts],
) -> tuple[dict[SourceKey, dict[str, str]], dict[str, list[SourceKey]]]:
    """Merge small files, and return the files of each source by kind, and the order of the sources of each kind."""
    files = {key: dict(paths) for key, paths in own.items()}
    order: dict[str, list[SourceKey]] = {}
    for kind, of_kind in sizes.items():
        current = {key: of_kind[key] for key in contents.current}
        existing = [group for group in merged if group.kind == kind and current.keys() >= {*group.keys}]
        groups = plan(kind, current, existing=existing)
        for group in (*existing, *groups):
            path = merge(contents.home, group, files, facts=facts)
            for key in group.keys:
                files[key][kind] = path
        # in merge order, so that a merged file can be written again byte for byte
        order[kind] = list(dict.fromkeys((*(key for group in groups for key in group.keys), *contents.current)))
    return files, order


def _verify_read(home: Home, files: Iterable[Mapping[str, str]]) -> None:
    """Verify the columns from which the tables of a snapshot are made. Raises `WarehouseError` for a damaged file."""
    read = {each[kind]: columns for each in files for kind, columns in _READ.items()}
    with ThreadPoolExecutor(_VERIFIERS) as threads:
        for _ in threads.map(lambda path: verify_pages(home.root / path, columns=read[path]), read):
            pass


def _finished(home: Home, versions: Versions, *, sizes: Mapping[str, int], known: Known) -> dict[SourceKey, Source]:
    """Find every source with a mentions file, and read its record counts from that file unless they are known."""
    folder = home.mentions_folder(versions)
    start = f"{folder.relative_to(home.root).as_posix()}/"
    paths = sorted(path for path in sizes if path.startswith(start))
    if not paths:
        raise WarehouseError("has no mentions; annotate something first", path=folder)
    for vocabulary in (home.entities(versions.mesh), home.entity_tree(versions.mesh)):
        if not vocabulary.exists():
            raise WarehouseError(f"vocabulary {versions.mesh} is missing: {vocabulary} does not exist; import it first")
    finished = {}
    for path in paths:
        stem = path[len(start) : -len(".parquet")]
        if stem in known:
            summary, mentions = known[stem]
        else:
            file = home.root / path
            summary, mentions = read_source_summary(file), pq.read_metadata(file).num_rows
            if stem != summary.key.stem:
                raise PublishRefusedError(
                    f"holds the record counts of {summary.key.stem}; delete it and annotate again", path=file
                )
        finished[summary.key] = Source(summary, mentions)
    return finished


def _sizes(contents: Contents, files: Mapping[SourceKey, Mapping[str, str]]) -> dict[str, dict[SourceKey, int]]:
    """Return the bytes of the files of every source, by kind. Raises `PublishRefusedError` if one is missing."""
    sizes: dict[str, dict[SourceKey, int]] = {}
    for key, paths in files.items():
        for kind, path in paths.items():
            if path not in contents.sizes:
                mentions = contents.home.root / paths["mentions"]
                raise PublishRefusedError(
                    f"is missing; delete {mentions} and annotate {key.name} again", path=contents.home.root / path
                )
            sizes.setdefault(kind, {})[key] = contents.sizes[path]
    return sizes


def _absolute(home: Home, files: Mapping[str, str]) -> dict[str, Path]:
    return {kind: home.root / path for kind, path in files.items()}


def _table(name: str, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    """Return rows of one of `views.TABLES` as a table: much faster than from dicts."""
    schema, _description = views.TABLES[name]
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _source_row(source: Source, rank: int | None, history: History, versions: Versions) -> tuple[object, ...]:
    """Return the columns of the table `sources`, in their order."""
    one = source.summary
    return (
        one.key.name,
        one.key.digest,
        rank,
        rank is not None,
        one.format,
        one.bytes,
        one.status,
        one.error,
        *_numbers(one.counts),
        source.mentions,
        *(history.seen(one.key) or (None, None)),
        history.annotator(one.key, versions),
    )


def _file_row(view: str | None, path: str, key: SourceKey | None, facts: FileFacts) -> tuple[object, ...]:
    """Return the columns of the table `files`, in their order."""
    return view, path, key and key.name, key and key.digest, facts.rows, facts.bytes, facts.sha256


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
