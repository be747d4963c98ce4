"""Check the files of sources against their record counts and each other before a snapshot shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import duckdb

from warehouse.errors import PublishRefusedError
from warehouse.layout import SourceKey, Versions
from warehouse.quoting import file_list
from warehouse.sources.constraints import check_constraints
from warehouse.sources.counts import SourceCounts

# A snapshot shows one record per document, so a mention can be duplicated only within its own record.
_REPEATED_SQL = """
SELECT source, document_id, start, "end", entity_type, coalesce(mesh_id, 'no concept') AS concept, count(*) AS times
FROM read_parquet({mentions})
GROUP BY source, digest, record, document_id, start, "end", entity_type, mesh_id
HAVING count(*) > 1 ORDER BY ALL LIMIT 1
"""
_ORPHANED_SQL = """
SELECT m.source, m.record, m.document_id
FROM read_parquet({mentions}) AS m
ANTI JOIN read_parquet({documents}) AS d
    ON m.source = d.source AND m.digest = d.digest AND m.record = d.record AND m.document_id = d.document_id
ORDER BY ALL LIMIT 1
"""
_FOREIGN_SQL = """
SELECT DISTINCT filename, model_version, mesh_version FROM read_parquet({mentions}, filename = true)
WHERE model_version <> $model OR mesh_version <> $mesh LIMIT 1
"""
_INVALID_SQL = """
SELECT filename, sum(len(invalid_annotations)) FROM read_parquet({documents}, filename = true) GROUP BY filename
"""


def verify_sources(
    connection: duckdb.DuckDBPyConnection,
    sources: Mapping[SourceKey, tuple[SourceCounts, int, Mapping[str, Path]]],
    *,
    versions: Versions,
    vocabulary: Path,
) -> None:
    """Check record counts, row counts, constraints, origins and mentions of sources.

    Each source is (counts, rows of mentions, files by kind); `vocabulary` is the file of concepts. Raises
    `CountMismatchError` or `PublishRefusedError` with the first fault found.
    """
    if not sources:
        return
    expected: dict[str, dict[Path, tuple[SourceKey, int]]] = {}
    for key, (counts, mentions, files) in sources.items():
        counts.check(source=key.name)
        rows = {
            "documents": counts.documents,
            "failures": counts.failed - counts.unread,
            "unread": counts.unread,
            "deletions": counts.deleted,
            "mentions": mentions,
        }
        for kind, number in rows.items():
            expected.setdefault(kind, {})[files[kind]] = (key, number)
    for files_of_view in expected.values():
        _verify_rows(connection, files_of_view)
    invalid = {files["documents"]: (key, counts.invalid_annotations) for key, (counts, _, files) in sources.items()}
    _verify_invalid_annotations(connection, invalid)
    check_constraints(connection, expected, vocabulary=vocabulary)
    lists = {view: file_list(files_of_view) for view, files_of_view in expected.items()}
    for path, model, mesh in connection.execute(_FOREIGN_SQL.format(**lists), asdict(versions)).fetchall():
        raise PublishRefusedError(
            f"has mentions of {model}@{mesh}, expected {versions}; delete it and annotate again", path=Path(path)
        )
    for source, record, document_id in connection.execute(_ORPHANED_SQL.format(**lists)).fetchall():
        raise PublishRefusedError(
            f"{source}: mentions of document {document_id} (record {record}), which is not among its documents; "
            "delete its mentions file and annotate again"
        )
    for source, document_id, start, end, kind, concept, times in connection.execute(
        _REPEATED_SQL.format(**lists)
    ).fetchall():
        raise PublishRefusedError(
            f"{source}: document {document_id} has the mention {start}-{end} {kind} {concept} {times} times, "
            "expected once; delete its mentions file and annotate again"
        )


def _verify_rows(connection: duckdb.DuckDBPyConnection, expected: Mapping[Path, tuple[SourceKey, int]]) -> None:
    query = f"""
        SELECT filename, source, digest, count(*)
        FROM read_parquet({file_list(expected)}, filename = true) GROUP BY ALL
    """
    found: dict[Path, list[tuple[str, str, int]]] = {}
    for filename, source, digest, rows in connection.execute(query).fetchall():
        found.setdefault(Path(filename), []).append((source, digest, rows))
    for path, (key, rows) in expected.items():
        wanted: Sequence[tuple[str, str, int]] = [(key.name, key.digest, rows)] if rows else []
        if found.get(path, []) != wanted:
            raise PublishRefusedError(
                f"has rows {found.get(path, [])}, expected {wanted} from the record counts; "
                f"delete it and the mentions of {key.name}, and annotate again",
                path=path,
            )


def _verify_invalid_annotations(
    connection: duckdb.DuckDBPyConnection, expected: Mapping[Path, tuple[SourceKey, int]]
) -> None:
    rows = connection.execute(_INVALID_SQL.format(documents=file_list(expected))).fetchall()
    found = {Path(filename): number for filename, number in rows}
    for path, (key, number) in expected.items():
        if found.get(path, 0) != number:
            raise PublishRefusedError(
                f"has {found.get(path, 0)} invalid annotations, expected {number} as recorded; "
                f"delete it and the mentions of {key.name}, and annotate again",
                path=path,
            )
