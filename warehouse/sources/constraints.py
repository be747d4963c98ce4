"""Constraints on every row of a source's files, checked once before a snapshot shows them.

`warehouse.schemas` and each Parquet file define the columns, their types and which are never null; a file with other
columns is refused. The vocabulary's own constraints are checked when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse import schemas
from e2emern.warehouse.errors import PublishRefusedError
from e2emern.warehouse.quoting import file_list

_ROUNDING = 1e-6  # float32 probabilities may exceed 1 by this

_SCORES = ("ner_score", "mid_score", "high_score", "link_score")
_IN_RANGE = " AND ".join(f"({score} IS NULL OR {score} BETWEEN 0 AND 1 + {_ROUNDING})" for score in _SCORES)

# By kind of file: its columns, and each constraint in words with the SQL that is true if it holds. `vocabulary` is the
# table of concepts.
CONSTRAINTS: Final[Mapping[str, tuple[pa.Schema, Mapping[str, str]]]] = {
    "documents": (
        schemas.DOCUMENTS,
        {
            "record >= 0": "record >= 0",
            "version >= 1": "version >= 1",
            "text_sha256 has 64 hex digits": "regexp_full_match(text_sha256, '[0-9a-f]{64}')",
        },
    ),
    "mentions": (
        schemas.MENTIONS,
        {
            "0 <= start < end": 'start >= 0 AND start < "end"',
            "text has end - start code points": 'length(text) = "end" - start',
            "sentence >= 0": "sentence >= 0",
            "every score is between 0 and 1": _IN_RANGE,
            "mesh_id is one of entities": "mesh_id IS NULL OR mesh_id IN (SELECT mesh_id FROM vocabulary)",
            "entity_type is one of entities": "entity_type IN (SELECT entity_type FROM vocabulary)",
        },
    ),
    "deletions": (schemas.DELETIONS, {"record >= 0": "record >= 0", "pmid > 0": "pmid > 0"}),
    "failures": (schemas.FAILURES, {"record >= 0": "record >= 0", "reason is not empty": "reason <> ''"}),
    "unread": (schemas.FAILURES, {"record >= 0": "record >= 0", "reason is not empty": "reason <> ''"}),
}


def check_constraints(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, Iterable[Path]], *, vocabulary: Path
) -> None:
    """Check the columns and rows of files, given by kind, against `CONSTRAINTS`.

    Raises `PublishRefusedError` with the first row that breaks one, or the first file with other columns.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW vocabulary AS "
        f"SELECT mesh_id, entity_type FROM read_parquet({file_list([vocabulary])})"
    )
    for kind, paths in files.items():
        schema, constraints = CONSTRAINTS[kind]
        for path in paths:
            _check_columns(path, schema)
        broken = " ".join(f"WHEN NOT ({holds}) THEN {number}" for number, holds in enumerate(constraints.values()))
        query = f"""
            SELECT filename, record, CASE {broken} END AS broken
            FROM read_parquet({file_list(paths)}, filename = true) WHERE broken IS NOT NULL ORDER BY ALL LIMIT 1
        """
        for filename, record, number in connection.execute(query).fetchall():
            raise PublishRefusedError(
                f"has a record {record} that breaks a rule: {list(constraints)[number]}; report this, it is a defect; "
                "delete the file and annotate again",
                path=Path(filename),
            )


def _check_columns(path: Path, schema: pa.Schema) -> None:
    try:
        found = pq.read_schema(path)
    except pa.ArrowException as error:
        raise PublishRefusedError("cannot be read as Parquet; delete it and annotate again", path=path) from error
    for field in schema:
        at = found.get_field_index(field.name)
        if at < 0 or found.field(at).type != field.type or found.field(at).nullable != field.nullable:
            has = _format_column(found.field(at)) if at >= 0 else "none"
            raise PublishRefusedError(
                f"has column {has}, expected {_format_column(field)}; delete it and annotate again", path=path
            )


def _format_column(field: pa.Field[pa.DataType]) -> str:
    return f"{field.name}: {field.type}{'' if field.nullable else ' not null'}"
