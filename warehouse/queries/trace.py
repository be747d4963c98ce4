"""Trace the history of one document: every revision in every source, and which one each snapshot shows and why.

Revisions are read from the files of the sources, so that unpublished ones are found too. A file that the current
snapshot has merged is not opened: the merged file has its rows, and an old home has thousands of small files. The small
tables `sources` and `superseded` determine what a snapshot shows: no Parquet file is read for an old snapshot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.quoting import file_list
from e2emern.warehouse.snapshots.opening import attach
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.snapshots.refs import current_number, numbers
from e2emern.warehouse.sources.history import read_history

SHOWN, DELETED, ABSENT, UNPUBLISHED = "shown", "deleted", "absent", "unpublished"

_REVISIONS_SQL = """
SELECT source, digest, record, version, published, title, text_sha256 FROM read_parquet({files})
WHERE document_id = $id ORDER BY ALL
"""
_WITHDRAWALS_SQL = """
SELECT source, digest, record FROM read_parquet({files}) WHERE pmid = TRY_CAST($id AS BIGINT) ORDER BY ALL
"""
_INVALID_SQL = """
SELECT kind, count(*) AS annotations, first(position) AS position, first(reason) AS reason
FROM invalid_annotations WHERE document_id = $id AND source = $source AND digest = $digest AND record = $record
GROUP BY kind ORDER BY annotations DESC, kind
"""
_FAILURES_SQL = """
SELECT source, digest, record, position, reason FROM read_parquet({files}) WHERE document_id = $id ORDER BY ALL
"""
_ANNOTATED_SQL = """
WITH
    counted AS (
        SELECT source, digest, model_version, mesh_version, mesh_id, count(*) AS mentions
        FROM mentions WHERE document_id = $id GROUP BY ALL
    ),
    final AS (
        SELECT source, digest, model_version, mesh_version, sum(mentions)::BIGINT AS mentions,
            coalesce((sum(mentions) FILTER (mesh_id IS NOT NULL))::BIGINT, 0) AS linked,
            coalesce(list(mesh_id ORDER BY mentions DESC, mesh_id) FILTER (mesh_id IS NOT NULL), []) AS concepts
        FROM counted GROUP BY ALL
    )
SELECT model_version, mesh_version, annotated_by, final.mentions, linked, concepts
FROM final JOIN sources USING (source, digest)
"""
_PASSAGES_SQL = """
SELECT unnest(passages) AS passage FROM documents
WHERE document_id = $id AND source = $source AND digest = $digest AND record = $record
"""
_MENTIONS_SQL = """
SELECT sentence, start, "end", text, entity_type, mesh_id, mesh_name, ner_score, mid_score, high_score, link_score, how
FROM mentions WHERE document_id = $id AND source = $source AND digest = $digest AND record = $record
ORDER BY start, "end", link_score DESC NULLS LAST, mesh_id
"""
_HELD_SQL = "SELECT source, digest FROM old.sources WHERE current AND list_contains($sources, source)"
_HIDDEN_SQL = """
SELECT source, digest, record, reason, by_source, by_digest FROM old.superseded WHERE document_id = $id
"""

_MERGED_SQL = "SELECT DISTINCT path FROM files WHERE starts_with(path, $folder)"
_IN_MERGED_SQL = "SELECT path FROM files WHERE view IS NULL AND starts_with(path, $folder)"

_Key = tuple[str, str, int]  # source, digest, record


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A record of a source, and the run that first processed the source; times are in UTC."""

    source: str
    digest: str
    record: int
    run_id: str | None = None
    taken_in: datetime | None = None
    software: str | None = None  # version of e2emern


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The document in one record. Title and other content are None if the files of the source were pruned.

    `standing` is its state in the current snapshot: shown, revised, deleted, reissued or unpublished. `by_source` and
    `by_digest` identify the source that replaced or withdrew it.
    """

    origin: Origin
    version: int | None = None
    published: str | None = None
    title: str | None = None
    text_sha256: str | None = None
    standing: str = UNPUBLISHED
    by_source: str | None = None
    by_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """The mentions of the revision that is shown; `concepts` are ids, most frequent first."""

    model_version: str
    mesh_version: str
    run_id: str | None
    mentions: int
    linked: int
    concepts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What all snapshots from `first` to `last` show; `standing` is shown, deleted or absent.

    `since` is the time at which the first of them was published.
    """

    first: int
    last: int
    since: datetime
    standing: str
    source: str | None
    digest: str | None
    record: int | None
    model_version: str
    mesh_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A failure of the document."""

    origin: Origin
    position: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All records of one document in a home; revisions and withdrawals in the order in which they were processed.

    `passages` (section, offset, text), `mentions` (as in the table of that name, sorted by span) and
    `invalid_annotations` (kind, annotations: their number, position and reason of the first) belong to the revision
    that the current snapshot shows; they are empty if it shows none.
    """

    document_id: str
    passages: tuple[dict[str, Any], ...]
    mentions: tuple[dict[str, Any], ...]
    invalid_annotations: tuple[dict[str, Any], ...]
    revisions: tuple[Revision, ...]
    withdrawals: tuple[Origin, ...]
    annotated: tuple[Annotated, ...]
    appearances: tuple[Appearance, ...]
    failures: tuple[Failed, ...]

    @property
    def shown(self) -> Revision | None:
        """The revision that the current snapshot shows."""
        return next((revision for revision in self.revisions if revision.standing == SHOWN), None)

    def to_json(self) -> str:
        """Return the trace as JSON, with times in ISO 8601."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, default=lambda moment: moment.isoformat())


def trace(home: Home, document_id: str) -> Trace:
    """Return a document with its mentions and its history, by its id; the id of a PubMed document is its PMID.

    Raises `WarehouseError` if no source has the document, nothing was published, or a file cannot be read.
    """
    with open_snapshot(home) as connection:
        found = _trace(connection, home, document_id)
    if not (found.revisions or found.withdrawals or found.failures):
        raise WarehouseError(f"has no document {document_id!r}; give a PMID or the source's own id", path=home.root)
    return found


def _trace(connection: duckdb.DuckDBPyConnection, home: Home, document_id: str) -> Trace:
    asked = {"id": document_id}
    history = read_history(home)
    runs = {run.run_id: run for run in history.runs}

    def origin(source: str, digest: str, record: int) -> Origin:
        one = Origin(source=source, digest=digest, record=record)
        if met := history.seen(SourceKey(source, digest)):
            run = runs[met[0]]
            moment, software = datetime.fromisoformat(run.started), run.versions.get("e2emern")
            one = replace(one, run_id=run.run_id, taken_in=moment, software=software)
        return one

    def rows(sql: str, folder: str) -> list[Any]:
        files = file_list(home.root / path for path in _files(connection, home, folder))
        return connection.execute(sql.format(files=files), asked).fetchall() if files != "[]" else []

    revisions: dict[_Key, Revision] = {}
    for source, digest, record, version, published, title, text_sha256 in rows(_REVISIONS_SQL, "documents"):
        found = origin(source, digest, record)
        revisions[source, digest, record] = Revision(
            origin=found, version=version, published=published, title=title, text_sha256=text_sha256
        )
    appearances: list[Appearance] = []
    holding = {"sources": list({source for source, _digest, _record in revisions})}
    for number in numbers(home):
        with _attached(connection, home.snapshot(number)):
            held = set(connection.execute(_HELD_SQL, holding).fetchall())
            hidden = {tuple(row[:3]): row[3:] for row in connection.execute(_HIDDEN_SQL, asked).fetchall()}
            versions = connection.execute("SELECT created, model_version, mesh_version FROM old.snapshot").fetchall()
        shown = next((key for key in revisions if key[:2] in held and key not in hidden), None)
        _extend(appearances, number, shown, hidden=hidden, versions=versions[0])
        for key in hidden:
            revisions.setdefault(key, Revision(origin=origin(*key)))
        if number == current_number(home):
            for key, (reason, by_source, by_digest) in hidden.items():
                revisions[key] = replace(revisions[key], standing=reason, by_source=by_source, by_digest=by_digest)
            if shown:
                revisions[shown] = replace(revisions[shown], standing=SHOWN)
    now = next((key for key, revision in revisions.items() if revision.standing == SHOWN), None)
    return Trace(
        document_id=document_id,
        passages=tuple(row["passage"] for row in _dicts(connection, _PASSAGES_SQL, document_id, now)),
        mentions=tuple(_dicts(connection, _MENTIONS_SQL, document_id, now)),
        invalid_annotations=tuple(_dicts(connection, _INVALID_SQL, document_id, now)),
        revisions=tuple(sorted(revisions.values(), key=lambda revision: _moment(revision.origin))),
        withdrawals=tuple(sorted((origin(*row) for row in rows(_WITHDRAWALS_SQL, "deletions")), key=_moment)),
        annotated=tuple(
            Annotated(
                model_version=model, mesh_version=mesh, run_id=run, mentions=count, linked=linked, concepts=tuple(ids)
            )
            for model, mesh, run, count, linked, ids in connection.execute(_ANNOTATED_SQL, asked).fetchall()
        ),
        appearances=tuple(appearances),
        failures=tuple(
            Failed(origin=origin(source, digest, record), position=position, reason=reason)
            for source, digest, record, position, reason in rows(_FAILURES_SQL, "failures")
        ),
    )


def _files(connection: duckdb.DuckDBPyConnection, home: Home, folder: str) -> list[str]:
    """Return the files that hold the rows of a folder of source files, all relative to the home."""

    def named(sql: str, start: str) -> list[str]:
        return [path for (path,) in connection.execute(sql, {"folder": f"{start}/"}).fetchall()]

    found: set[str] = set()
    for at, _folders, names in os.walk(home.root / folder):
        of = Path(at).relative_to(home.root).as_posix()
        found.update(f"{of}/{name}" for name in names if name.endswith(".parquet") and not name.startswith("."))
    return [*named(_MERGED_SQL, f"compacted/{folder}"), *sorted(found.difference(named(_IN_MERGED_SQL, folder)))]


def _dicts(connection: duckdb.DuckDBPyConnection, sql: str, document_id: str, key: _Key | None) -> list[dict[str, Any]]:
    """Return the rows of one record; none if `key` is None."""
    if key is None:
        return []
    source, digest, record = key
    asked = {"id": document_id, "source": source, "digest": digest, "record": record}
    answer: list[dict[str, Any]] = connection.sql(sql, params=asked).to_arrow_table().to_pylist()
    return answer


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    attach(connection, path.resolve(), "old")
    try:
        yield
    finally:
        connection.execute("DETACH old")


def _extend(
    appearances: list[Appearance],
    number: int,
    shown: _Key | None,
    *,
    hidden: dict[_Key, Any],
    versions: tuple[datetime, str, str],
) -> None:
    """Add what one snapshot shows: extend the last appearance if it is equal, or else append a new one."""
    created, model, mesh = versions
    source, digest, record = shown or (None, None, None)
    deleted = any(reason == DELETED for reason, *_ in hidden.values())
    new = Appearance(
        first=number,
        last=number,
        since=created,
        standing=SHOWN if shown else DELETED if deleted else ABSENT,
        source=source,
        digest=digest,
        record=record,
        model_version=model,
        mesh_version=mesh,
    )
    if appearances and replace(appearances[-1], first=number, last=number, since=created) == new:
        appearances[-1] = replace(appearances[-1], last=number)
    else:
        appearances.append(new)


def _moment(origin: Origin) -> tuple[str, str, int]:
    return origin.run_id or "", origin.source, origin.record
