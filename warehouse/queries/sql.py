"""Answer one SQL query from the current snapshot, without access to anything else on the machine.

DuckDB is restricted: no external access except the Parquet files of the snapshot's views, no extensions, a locked
configuration. Only a SELECT is run, since a COPY could write to the readable files. A CTE can hold a COPY, and
functions such as `query` run a text as SQL. So each part of a query must be a SELECT, and each function in a FROM
clause must be one that only reads.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb
import pyarrow as pa

from warehouse.errors import QueryRefusedError
from warehouse.layout import Home
from warehouse.quoting import literal, literal_path
from warehouse.snapshots.reader import open_snapshot

TIMEOUT_S: Final = 300.0
MEMORY: Final = "2GB"

_CUT = b"cut_at_rows"
_BATCH_ROWS = 2048

_SELECT_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset(
    """
    duckdb_columns duckdb_databases duckdb_functions duckdb_keywords duckdb_settings duckdb_tables duckdb_types
    duckdb_views generate_series histogram histogram_values json_each json_tree parquet_file_metadata
    parquet_kv_metadata parquet_metadata parquet_scan parquet_schema pragma_table_info query_table range read_parquet
    repeat repeat_row summary unnest
    """.split()
)
_PARSED_SQL = """
WITH parsed AS (SELECT json_serialize_sql($sql) AS tree)
SELECT tree ->> '$.error_message', tree ->> '$..type', tree ->> '$..function.function_name' FROM parsed
"""


def query(
    home: Home,
    sql: str,
    *,
    parameters: Mapping[str, object] | None = None,
    earlier: int | None = None,
    limit_rows: int | None = None,
    timeout_s: float = TIMEOUT_S,
    memory_limit: str = MEMORY,
) -> pa.Table:
    """Return the answer to one SELECT (or DESCRIBE, SHOW, SUMMARIZE): all its rows, or the first `limit_rows`.

    `parameters` are the values of `$name` in the query. With `earlier`, the number of another snapshot, its tables
    can be read as `earlier.documents` and so on. `is_cut` returns whether a limit left rows out. Raises
    `QueryRefusedError` if the query is invalid, is or contains another statement than SELECT, calls a function in a
    FROM clause that can do more than read, accesses a file, needs more than `timeout_s` seconds or `memory_limit` of
    memory and as much disk, or if its answer exceeds `memory_limit`; `WarehouseError` without a snapshot.
    """
    _check_unicode({"the query": sql, **{f"${name}": value for name, value in (parameters or {}).items()}})
    with tempfile.TemporaryDirectory(prefix="e2emern-sql-") as spill:
        config = {
            "memory_limit": memory_limit,
            "temp_directory": spill,
            "max_temp_directory_size": memory_limit,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # a table name never means a Python variable
        }
        with open_snapshot(home, config=config) as connection:
            if earlier is not None:
                _attach_earlier(connection, home, earlier)
            _close(connection, home, catalogs=["warehouse"] if earlier is None else ["warehouse", "earlier"])
            select = _single_select(connection, sql)
            return _answer(connection, select, parameters or {}, limit_rows=limit_rows, timeout_s=timeout_s)


def is_cut(answer: pa.Table) -> bool:
    """Return whether the query had more rows than its limit."""
    return _CUT in (answer.schema.metadata or {})


def _attach_earlier(connection: duckdb.DuckDBPyConnection, home: Home, number: int) -> None:
    path = home.snapshot(number).resolve()
    try:
        connection.execute(f"ATTACH {literal(str(path))} AS earlier (READ_ONLY)")
    except duckdb.Error as error:
        raise QueryRefusedError(f"snapshot {number} cannot be opened: {_one_line(error)}") from error


def _close(connection: duckdb.DuckDBPyConnection, home: Home, *, catalogs: Sequence[str]) -> None:
    root = home.root.resolve()
    named = " UNION ".join(f"SELECT path FROM {catalog}.files" for catalog in catalogs)
    paths = [root / path for (path,) in connection.execute(named).fetchall()]
    # DuckDB asks both for the pattern that a view names and for the file it matches
    allowed = {name for path in paths for name in (str(path), literal_path(path))}
    connection.execute(f"SET allowed_paths = [{', '.join(map(literal, sorted(allowed)))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryRefusedError(_one_line(error)) from error
    if len(statements) != 1:
        raise QueryRefusedError(f"found {len(statements)} statements, expected one SELECT")
    kind = statements[0].type
    if kind is not duckdb.StatementType.SELECT:
        raise QueryRefusedError(f"found a statement of type {kind.name}, expected a SELECT; the tables are read-only")
    select = str(statements[0].query)
    _check_parts(connection, select)
    return select


def _check_parts(connection: duckdb.DuckDBPyConnection, select: str) -> None:
    """Raise `QueryRefusedError` if the SELECT contains another statement or an unknown table function."""
    try:
        ((failure, types, functions),) = connection.execute(_PARSED_SQL, {"sql": select}).fetchall()
    except duckdb.Error as error:
        raise QueryRefusedError(_one_line(error)) from error
    if failure is not None:
        raise QueryRefusedError(failure)
    if others := sorted({each for each in types if each.endswith("_NODE")} - _SELECT_NODES):
        kind = others[0].removesuffix("_NODE").removesuffix("_QUERY")
        raise QueryRefusedError(f"found {kind} within the query, expected SELECT alone; the tables are read-only")
    if unknown := sorted({each.lower() for each in functions} - _TABLE_FUNCTIONS):
        known = ", ".join(sorted(_TABLE_FUNCTIONS))
        raise QueryRefusedError(
            f"found FROM {unknown[0]}(...), expected a table or a function that only reads: {known}"
        )


def _answer(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, object],
    *,
    limit_rows: int | None,
    timeout_s: float,
) -> pa.Table:
    most = math.inf if limit_rows is None else limit_rows
    memory, room = _memory_limit(connection)
    done, late = threading.Event(), threading.Event()

    def watch() -> None:
        if not done.wait(timeout_s):
            late.set()
            connection.interrupt()
            while not done.wait(0.05):  # an interrupt between planning and running is lost
                connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        reader = connection.sql(sql, params=dict(parameters) or None).to_arrow_reader(_BATCH_ROWS)
        batches, rows = [], 0
        while rows <= most and (batch := next(reader, None)) is not None:
            batches.append(batch)
            rows += len(batch)
            room -= batch.nbytes
            if room < 0:
                raise QueryRefusedError(
                    f"the answer needs more memory than {memory}; ask for fewer rows or columns, set "
                    "limit_rows or raise memory_limit"
                )
    except (duckdb.Error, pa.ArrowException) as error:
        if late.is_set():
            raise QueryRefusedError(
                f"the query took longer than {timeout_s:g} s; ask for less or allow more"
            ) from error
        raise QueryRefusedError(_one_line(error)) from error
    finally:
        done.set()
        watcher.join()
    answer = pa.Table.from_batches(batches, schema=reader.schema)
    if limit_rows is None or rows <= limit_rows:
        return answer
    return answer.slice(0, limit_rows).replace_schema_metadata({_CUT: str(limit_rows)})


def _memory_limit(connection: duckdb.DuckDBPyConnection) -> tuple[str, int]:
    """Return the memory limit of a connection as DuckDB writes it, and in bytes."""
    sql = "SELECT current_setting('memory_limit') AS text, parse_formatted_bytes(text)"
    ((text, in_bytes),) = connection.execute(sql).fetchall()
    return str(text), int(in_bytes)


def _check_unicode(texts: Mapping[str, object]) -> None:
    """Raise `QueryRefusedError` for invalid UTF-8, which Python keeps in strings as lone surrogates."""
    for name, text in texts.items():
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            raise QueryRefusedError(f"{name}: found a byte that is not UTF-8 at character {error.start}") from error


def _one_line(error: Exception) -> str:
    """Return the message of an error with DuckDB's hint of similar names, without the excerpt of the query."""
    text = str(error).split("\nLINE ")[0]
    return " ".join(text.split())
