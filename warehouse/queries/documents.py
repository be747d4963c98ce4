"""Stream the documents of the current snapshot, each with its mentions, ordered by source and record.

Reads one source at a time, so memory does not grow with the home; DuckDB sorts and joins within a source.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.quoting import file_list, identifier, literal
from e2emern.warehouse.schemas import DOCUMENTS, MENTIONS
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.snapshots.views import ORIGIN
from e2emern.warehouse.wording import one_line

_BATCH_ROWS = 1024
_MEMORY = "1GB"  # for DuckDB, which spills the rest to disk

_SOURCES = """
SELECT source, digest, documents.path, mentions.path
FROM files AS documents JOIN files AS mentions USING (source, digest)
WHERE documents.view = 'documents' AND mentions.view = 'mentions'
ORDER BY source, digest
"""
_ANNOTATED = """
WITH
    document AS ({documents}),
    mention AS ({mentions}),
    grouped AS (
        SELECT record, list(mention ORDER BY start, "end", link_score DESC NULLS LAST, mesh_id) AS mentions
        FROM mention GROUP BY record
    )
SELECT document.*, coalesce(mentions, []) AS mentions
FROM document LEFT JOIN grouped USING (record)
ORDER BY record
"""
_DOCUMENT_SQL = "FROM documents WHERE document_id = $id ORDER BY source, digest, record LIMIT 1"
_MENTIONS_SQL = """
FROM mentions WHERE document_id = $id AND source = $source AND digest = $digest AND record = $record
ORDER BY start, "end", link_score DESC NULLS LAST, mesh_id
"""


def annotated_row(home: Home, document_id: str, *, number: int | None = None) -> dict[str, Any] | None:
    """Return one document as a row of `annotated_rows`; None if the snapshot, by default the current one, lacks it.

    Raises `WarehouseError` if nothing was published or a file cannot be read.
    """
    with open_snapshot(home, number) as connection:
        rows = connection.sql(_DOCUMENT_SQL, params={"id": document_id}).to_arrow_table().to_pylist()
        for row in rows:
            asked = {"id": document_id} | {name: row[name] for name in ("source", "digest", "record")}
            row["mentions"] = connection.sql(_MENTIONS_SQL, params=asked).to_arrow_table().to_pylist()
            return dict(row)
    return None


def annotated_rows(home: Home) -> Iterator[dict[str, Any]]:
    """Yield every row of `documents` as a dict, with its rows of `mentions` under that key, sorted by span.

    Several concepts of one span are sorted by link score, best first. Raises `WarehouseError` if nothing was
    published or a file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="e2emern-read-") as spill:
        config = {"memory_limit": _MEMORY, "temp_directory": spill}
        with open_snapshot(home, config=config) as connection:
            root = home.root.resolve()
            for source, digest, documents, mentions in connection.execute(_SOURCES).fetchall():
                of_source = f"source = {literal(source)} AND digest = {literal(digest)}"
                sql = _ANNOTATED.format(
                    documents=_shown(DOCUMENTS, root / documents, of_source),
                    mentions=_shown(MENTIONS, root / mentions, of_source),
                )
                try:
                    for batch in connection.sql(sql).to_arrow_reader(_BATCH_ROWS):
                        yield from batch.to_pylist()
                except (duckdb.Error, pa.ArrowException) as error:
                    raise WarehouseError(f"cannot be read: {one_line(error)}", path=root / documents) from error


def _shown(schema: pa.Schema, path: Path, condition: str) -> str:
    """Return the SQL for the rows of one file that the snapshot shows."""
    columns = ", ".join(map(identifier, schema.names))
    files = file_list([path])
    return f"SELECT {columns} FROM read_parquet({files}) ANTI JOIN superseded USING ({ORIGIN}) WHERE {condition}"
