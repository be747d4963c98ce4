"""Reuse the mentions of a document when a later source repeats its text.

Most records of a PubMed update, of a re-issued file and of a new yearly baseline have unchanged text. A document with
the same id and `text_sha256` is not annotated again: its rows are copied from the mentions file of an earlier source of
the same model and vocabulary. Only source, digest, record and PMID differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.parquet import verify_pages
from e2emern.warehouse.quoting import file_list, identifier
from e2emern.warehouse.schemas import MENTIONS

_MEMORY = "1GB"  # for DuckDB, which spills the rest of the join to disk
_KEY = "document_id"
_ANY = ("", chr(0x10FFFF))
_MATCHED = ("source", "digest", "record", "document_id", "pmid", "text_sha256")  # columns of documents that are read

_MATCH_SQL = """
CREATE OR REPLACE TEMP TABLE match AS
WITH
    wanted AS (SELECT record, document_id, pmid, text_sha256 FROM read_parquet({wanted})),
    earlier AS (
        SELECT source, digest, record, document_id, text_sha256, filename AS documents
        FROM read_parquet({documents}, filename = true)
    ),
    unread AS (SELECT source, digest, record FROM read_parquet({unread})),
    known AS (SELECT * FROM earlier ANTI JOIN unread USING (source, digest, record))
SELECT wanted.record, wanted.pmid, max(struct_pack(source, digest, known.record, documents)) AS origin
FROM wanted JOIN known USING (document_id, text_sha256)
GROUP BY ALL
"""
_MENTIONS_SQL = """
SELECT {columns}
FROM read_parquet({mentions}, filename = true) AS m
JOIN origin_file ON m.filename = origin_file.mentions
JOIN match ON origin.documents = origin_file.documents
    AND m.source = origin.source AND m.digest = origin.digest AND m.record = origin.record
ORDER BY match.record, m.file_row_number
"""


@dataclass(frozen=True, slots=True)
class Carried:
    """The records of a source whose text was annotated before, and their mentions sorted by record."""

    records: frozenset[int] = frozenset()
    mentions: pa.Table = field(default_factory=MENTIONS.empty_table)

    def between(self, first: int, last: int) -> pa.Table:
        """Return the mentions of the records from `first` to `last` inclusive."""
        records = self.mentions["record"].to_numpy()
        start, end = np.searchsorted(records, [first, last + 1])
        return self.mentions.slice(start, end - start)


def reused_mentions(home: Home, key: SourceKey, versions: Versions) -> Carried:
    """Return the mentions that a parsed source can reuse from other sources.

    Searches every other source that this model has annotated and whose range of ids overlaps. A file that is damaged
    or cannot be read is skipped: its documents are annotated again.
    """
    earlier = [
        other
        for other in _annotated(home, versions)
        if other.documents != home.documents(key) and _overlap(other.documents, home.documents(key))
    ]
    intact = {
        str(other.documents): other
        for other in earlier
        if _is_intact(other.documents, _MATCHED) and _is_intact(other.unread)
    }
    if not (intact and _is_intact(home.documents(key), _MATCHED)):
        return Carried()
    with (
        tempfile.TemporaryDirectory(prefix="e2emern-carry-") as spill,
        connect(config={"memory_limit": _MEMORY, "temp_directory": spill}) as connection,
        suppress(duckdb.Error),  # a file was deleted meanwhile, or its footer is damaged
    ):
        return _carried(connection, home, key, intact)
    return Carried()


@dataclass(frozen=True, slots=True)
class _Annotated:
    """The files of a source that a model has annotated."""

    documents: Path
    mentions: Path
    unread: Path


def _annotated(home: Home, versions: Versions) -> Iterator[_Annotated]:
    for mentions in sorted(home.mentions_folder(versions).glob("[!.]*")):
        documents = home.root / "documents" / mentions.name
        unread = home.root / "failures" / mentions.parent.name / mentions.name
        if documents.exists() and unread.exists():
            yield _Annotated(documents, mentions, unread)


def _is_intact(path: Path, columns: tuple[str, ...] | None = None) -> bool:
    """Return whether the pages of a file are as they were written. Each process reads them once, for all sources."""
    try:
        found = path.stat()
        _verify(path, columns, found.st_size, found.st_mtime_ns)
    except (WarehouseError, OSError):
        return False
    return True


@lru_cache(maxsize=100_000)
def _verify(path: Path, columns: tuple[str, ...] | None, size: int, mtime_ns: int) -> None:
    verify_pages(path, columns=columns)


def _carried(
    connection: duckdb.DuckDBPyConnection, home: Home, key: SourceKey, earlier: Mapping[str, _Annotated]
) -> Carried:
    """Match the documents of a source with those of earlier files, given by the paths of their documents."""
    origins = _match(connection, home, key, earlier)
    damaged = {name for name in origins if not _is_intact(earlier[name].mentions)}
    if damaged:
        return _carried(connection, home, key, {name: one for name, one in earlier.items() if name not in damaged})
    if not origins:
        return Carried()
    records = frozenset(record for (record,) in connection.execute("SELECT record FROM match").fetchall())
    connection.execute("CREATE TEMP TABLE origin_file (documents TEXT, mentions TEXT)")
    connection.executemany(
        "INSERT INTO origin_file VALUES (?, ?)", [(name, str(earlier[name].mentions)) for name in origins]
    )
    own = {"source": "$source", "digest": "$digest", "record": "match.record", "pmid": "match.pmid"}
    columns = [f"{own.get(name, 'm.' + identifier(name))} AS {identifier(name)}" for name in MENTIONS.names]
    found = connection.sql(
        _MENTIONS_SQL.format(
            columns=", ".join(columns),
            mentions=file_list(earlier[name].mentions for name in origins),
        ),
        params={"source": key.name, "digest": key.digest},
    )
    return Carried(records, found.to_arrow_table().cast(MENTIONS))


def _match(
    connection: duckdb.DuckDBPyConnection, home: Home, key: SourceKey, earlier: Mapping[str, _Annotated]
) -> list[str]:
    """Create the table of matches, and return the documents files that it names."""
    if not earlier:
        return []
    connection.execute(
        _MATCH_SQL.format(
            wanted=file_list([home.documents(key)]),
            documents=file_list(one.documents for one in earlier.values()),
            unread=file_list(one.unread for one in earlier.values()),
        )
    )
    rows = connection.execute("SELECT DISTINCT origin.documents FROM match ORDER BY ALL").fetchall()
    return [name for (name,) in rows]


def _overlap(one: Path, other: Path) -> bool:
    """Return whether two documents files may share an id. Baselines have sorted ids, so few of their files overlap."""
    first, second = _ids(one), _ids(other)
    return first is not None and second is not None and first[0] <= second[1] and second[0] <= first[1]


@lru_cache(maxsize=100_000)  # a file never changes
def _ids(documents: Path) -> tuple[str, str] | None:
    """Return the smallest and largest id from the footer of a documents file; None if it has no rows or no footer."""
    try:
        footer = pq.read_metadata(documents)
    except (OSError, pa.ArrowException):
        return None
    column = footer.schema.names.index(_KEY)
    groups = [footer.row_group(group).column(column).statistics for group in range(footer.num_row_groups)]
    bounds = [(str(one.min), str(one.max)) if one and one.has_min_max else _ANY for one in groups]
    return (min(least for least, _ in bounds), max(greatest for _, greatest in bounds)) if bounds else None
