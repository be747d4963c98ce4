"""Create the views and tables of a snapshot: views over an explicit list of Parquet files, with column comments.

The views name files by absolute path, so that any DuckDB client can open them from any folder. Only the macro `home()`
holds the root of these paths, and the variable `e2emern_home` overrides it. A home that has moved can be read after
setting the variable, or permanently after replacing the macro (`warehouse.snapshots.refs.relocate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from e2emern.warehouse import schemas
from e2emern.warehouse.quoting import file_list, identifier, literal, literal_path

ORIGIN = "source, digest, record"
HOME_VARIABLE = "e2emern_home"
PLACE = "place"  # column of merged files, unique in each file

# Every view over files: its schema and description.
VIEWS: dict[str, tuple[pa.Schema, str]] = {
    "documents": (schemas.DOCUMENTS, "Current documents: one row per document_id"),
    "mentions": (
        schemas.MENTIONS,
        "Mentions found by the model in the current documents; words of several concepts have a row for each",
    ),
    "deletions": (schemas.DELETIONS, "PubMed ids that a source withdraws"),
    "failures": (schemas.FAILURES, "Records that could not be used"),
    "entities": (schemas.ENTITIES, "Concepts of the vocabulary"),
    "entity_tree": (
        schemas.ENTITY_TREE,
        "Every concept with itself and all concepts above it: join on mesh_id, filter on ancestor_id",
    ),
}
# What a view reads of a file: all rows, or those not hidden, by `record` or, in merged files, by `place`.
_WHOLE_SQL = "SELECT {columns} FROM read_parquet({files})"
_PARTLY_SQL = """
SELECT {columns} FROM read_parquet({files})
ANTI JOIN (SELECT file, place AS hidden_place FROM hidden WHERE view = {view})
    ON file_index = file AND {place} = hidden_place
"""
_ANNOTATIONS_SQL = f"""
SELECT {ORIGIN}, document_id, pmid, annotation.start, annotation."end", annotation.text, annotation.entity_type,
    annotation.identifiers, annotation.normalized_type, annotation.normalized_ids
FROM (SELECT {ORIGIN}, document_id, pmid, unnest(annotations) AS annotation FROM documents)
"""
_INVALID_SQL = f"SELECT {ORIGIN}, document_id, pmid, unnest(invalid_annotations, recursive := true) FROM documents"
# An id without a prefix is one of MeSH or OMIM, as `entities` writes them. Entries of OMIM have their own id there.
_XREFS_SQL = """
SELECT mesh_id, CASE database WHEN 'MESH' THEN 'MeSH' ELSE database END AS database,
    database || ':' || regexp_replace(alias, '^[A-Za-z]+:', '') AS identifier, mesh_version
FROM (
    SELECT mesh_id, alias, mesh_version, CASE WHEN contains(alias, ':') THEN upper(split_part(alias, ':', 1))
        WHEN regexp_full_match(alias, '[0-9]+') THEN 'OMIM' ELSE 'MESH' END AS database
    FROM (
        SELECT mesh_id, unnest(aliases) AS alias, mesh_version FROM entities
        UNION ALL
        SELECT mesh_id, mesh_id, mesh_version FROM entities WHERE record_type = 'omim'
    )
)
"""
# Every view over the lists of `documents` and `entities`: its schema, description and query.
LISTS: dict[str, tuple[pa.Schema, str, str]] = {
    "annotations": (schemas.ANNOTATIONS, "Mentions annotated in the sources", _ANNOTATIONS_SQL),
    "invalid_annotations": (
        schemas.INVALID_ANNOTATIONS,
        "Annotations and lines of sources that could not be used, though their documents were",
        _INVALID_SQL,
    ),
    "xrefs": (
        schemas.XREFS,
        "Ids of the concepts in other databases, as far as the vocabulary has them: join on mesh_id",
        _XREFS_SQL,
    ),
}
TABLES: dict[str, tuple[pa.Schema, str]] = {
    "sources": (schemas.SOURCES, "Input files and what became of their records"),
    "superseded": (schemas.SUPERSEDED, "Documents in files that are not shown, and why"),
    "hidden": (schemas.HIDDEN, "Superseded documents in the files that the views read in part"),
    "concepts": (schemas.CONCEPTS, "Concepts that are mentioned, and how often"),
    "files": (schemas.FILES, "Parquet files that the views read, and those that are merged into them"),
    "runs": (schemas.RUNS, "Runs that made the tables"),
    "models": (schemas.MODELS, "Models of the home, and the one whose mentions are shown"),
    "evaluations": (schemas.EVALUATIONS, "Figures of models on gold documents, one a row"),
    "checks": (schemas.CHECKS, "What the gate checked before a model could become the champion"),
    "snapshot": (schemas.SNAPSHOT, "This snapshot, one row"),
}
DEFINITION = "\n".join(
    [_WHOLE_SQL, _PARTLY_SQL, *(sql for _schema, _text, sql in LISTS.values())]
    + [f"{name} {text} {schema.names}" for name, (schema, text) in (*VIEWS.items(), *TABLES.items())]
)


def create_home(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Create or replace the macro that returns the folder of the files that all views read."""
    folder = literal(literal_path(root))
    connection.execute(f"CREATE OR REPLACE MACRO home() AS coalesce(getvariable({literal(HOME_VARIABLE)}), {folder})")


def create_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    whole: Iterable[str],
    *,
    partly: Iterable[str] = (),
    merged: Iterable[str] = (),
) -> None:
    """Create one of `VIEWS` over its files, given relative to the home, with the description of every column.

    From files in `partly` (of one source each) and `merged`, the view omits the rows listed in the table `hidden`.
    """
    schema, description = VIEWS[name]
    connection.execute(f"CREATE VIEW {name} AS {view_sql(name, whole=whole, partly=partly, merged=merged)}")
    _describe(connection, "VIEW", name, schema, description)


def view_sql(name: str, *, whole: Iterable[str], partly: Iterable[str] = (), merged: Iterable[str] = ()) -> str:
    """Return the query of one of `VIEWS` over its files, as `create_view` describes them."""
    columns = ", ".join(map(identifier, VIEWS[name][0].names))
    parts = [
        sql.format(
            columns=columns,
            files=f"[home() || '/' || path FOR path IN {file_list(files)}]",
            view=literal(name),
            place=place,
        )
        for sql, place, files in (  # whole files last: after them, DuckDB 2.0 does not spill when it sorts all rows
            (_PARTLY_SQL, "record", tuple(partly)),
            (_PARTLY_SQL, PLACE, tuple(merged)),
            (_WHOLE_SQL, "", tuple(whole)),
        )
        if files
    ]
    return " UNION ALL ".join(parts)


def create_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views of `LISTS`, one row per list element."""
    for name, (schema, description, sql) in LISTS.items():
        connection.execute(f"CREATE VIEW {name} AS {sql}")
        _describe(connection, "VIEW", name, schema, description)


def create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[dict[str, object]]) -> None:
    """Create one of `TABLES` with its rows and the description of every column."""
    schema, _description = TABLES[name]
    create_from(connection, name, pa.Table.from_pylist(list(rows), schema=schema))


def create_from(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Create one of `TABLES` from a table of its columns.

    Without rows, nothing is inserted: after an empty insert, DuckDB 2.0.0 does not find the rows of a later ordered
    insert of more than 122,880 rows until the file is opened again.
    """
    schema, description = TABLES[name]
    connection.register("incoming", rows)
    columns = connection.execute("SELECT column_name, column_type FROM (DESCRIBE incoming)").fetchall()
    connection.execute(f"CREATE TABLE {name} ({', '.join(f'{identifier(column)} {kind}' for column, kind in columns)})")
    if len(rows):
        connection.execute(f"INSERT INTO {name} FROM incoming")
    connection.unregister("incoming")
    _describe(connection, "TABLE", name, schema, description)


def _describe(connection: duckdb.DuckDBPyConnection, kind: str, name: str, schema: pa.Schema, description: str) -> None:
    comments = [f"COMMENT ON {kind} {name} IS {literal(description)}"]
    for column in schema:
        text = (column.metadata or {})[b"description"].decode()
        comments.append(f"COMMENT ON COLUMN {name}.{identifier(column.name)} IS {literal(text)}")
    connection.execute("; ".join(comments))  # one call, since each costs a millisecond
