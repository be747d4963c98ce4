"""Check the files of sources against their record counts and each other before a snapshot shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import duckdb

from e2emern.warehouse.errors import PublishRefusedError
from e2emern.warehouse.layout import SourceKey, Versions
from e2emern.warehouse.parquet import verify_pages
from e2emern.warehouse.quoting import file_list
from e2emern.warehouse.sources.constraints import check_constraints
from e2emern.warehouse.sources.counts import SourceCounts

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
# As in `schemas`: the digest of the offset and text of each passage. `tasks.documents` computes the same.
_TEXT_SQL = """
SELECT source, record, document_id FROM read_parquet({documents})
WHERE text_sha256 <> sha256(
    array_to_string(list_transform(passages, lambda each: each."offset" || chr(9) || each.text || chr(10)), '')
)
ORDER BY ALL LIMIT 1
"""
_WORDS_SQL = """
WITH passage AS (
    SELECT source, digest, record, unnest(passages, recursive := true)
    FROM (SELECT source, digest, record, passages FROM read_parquet({documents}))
)
SELECT m.source, m.record, document_id, start, "end", m.text
FROM read_parquet({mentions}) AS m ASOF LEFT JOIN passage AS p
    ON m.source = p.source AND m.digest = p.digest AND m.record = p.record AND m.start >= p."offset"
WHERE substring(p.text, start - p."offset" + 1, "end" - start) IS DISTINCT FROM m.text
ORDER BY ALL LIMIT 1
"""
_TEXTS_AT_ONCE = 30_000  # documents; bounds the memory of joins with texts
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
    """Check page checksums, record counts, row counts, constraints, origins, texts and mentions of sources.

    Each source is (counts, rows of mentions, files by kind); `vocabulary` is the file of concepts. Raises
    `CountMismatchError` or `PublishRefusedError` with the first fault found, `WarehouseError` for a damaged file.
    """
    if not sources:
        return
    for path in (path for _, _, files in sources.values() for path in files.values()):
        verify_pages(path)
    verify_pages(vocabulary, columns=("mesh_id", "entity_type"))
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
    for paths in _with_few_texts(sources):
        _verify_texts(connection, **paths)
    for source, document_id, start, end, kind, concept, times in connection.execute(
        _REPEATED_SQL.format(**lists)
    ).fetchall():
        raise PublishRefusedError(
            f"{source}: document {document_id} has the mention {start}-{end} {kind} {concept} {times} times, "
            "expected once; delete its mentions file and annotate again"
        )


def _with_few_texts(
    sources: Mapping[SourceKey, tuple[SourceCounts, int, Mapping[str, Path]]],
) -> Iterator[dict[str, list[Path]]]:
    """Yield the documents and mentions files of all sources, of few documents at a time."""
    paths: dict[str, list[Path]] = {"documents": [], "mentions": []}
    documents = 0
    for counts, _, files in sources.values():
        for kind, of_kind in paths.items():
            of_kind.append(files[kind])
        documents += counts.documents
        if documents >= _TEXTS_AT_ONCE:
            yield paths
            paths, documents = {kind: [] for kind in paths}, 0
    if documents:
        yield paths


def _verify_texts(connection: duckdb.DuckDBPyConnection, *, documents: list[Path], mentions: list[Path]) -> None:
    lists = {"documents": file_list(documents), "mentions": file_list(mentions)}
    for source, record, document_id in connection.execute(_TEXT_SQL.format(**lists)).fetchall():
        raise PublishRefusedError(
            f"{source}: document {document_id} (record {record}): text_sha256 does not fit its text; delete its "
            "documents and mentions files and annotate again"
        )
    for source, record, document_id, start, end, text in connection.execute(_WORDS_SQL.format(**lists)).fetchall():
        raise PublishRefusedError(
            f"{source}: document {document_id} (record {record}) at {start}-{end} lacks the words of its mention "
            f"{text[:80]!r}; delete its mentions file and annotate again"
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
