"""Answers one SQL query from the current snapshot, with no way to anything else on the machine.

DuckDB itself is closed (no external access but the Parquet files of the snapshot's views, no extensions, locked
configuration), and only a SELECT is run, since a COPY could write to the files that may be read.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb
import pyarrow as pa

from warehouse.catalog import literal, literal_path
from warehouse.errors import QueryRefusedError
from warehouse.layout import Home
from warehouse.snapshot import open_snapshot

TIMEOUT_S: Final = 300.0
MEMORY: Final = "2GB"

_CUT = b"cut_at_rows"
_BATCH_ROWS = 2048


def query(
    home: Home,
    sql: str,
    *,
    parameters: Mapping[str, object] | None = None,
    earlier: int | None = None,
    limit_rows: int = 10_000,
    timeout_s: float = TIMEOUT_S,
    memory_limit: str = MEMORY,
) -> pa.Table:
    """Returns the answer to one SELECT (or DESCRIBE, SHOW, SUMMARIZE), at most `limit_rows` rows of it.

    `parameters` are the values of `$name` in the query. With `earlier`, the number of another snapshot, its tables
    can be read as `earlier.documents` and so on. `is_cut` tells whether there were more rows. Raises
    `QueryRefusedError` when the query is wrong, is no SELECT, touches a file, or needs more than `timeout_s` seconds
    or `memory_limit` memory and as much disk; `WarehouseError` when there is no snapshot.
    """
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
    """Tells whether the query had more rows than its limit let through."""
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
    return str(statements[0].query)


def _answer(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, object],
    *,
    limit_rows: int,
    timeout_s: float,
) -> pa.Table:
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
        while rows <= limit_rows and (batch := next(reader, None)) is not None:
            batches.append(batch)
            rows += len(batch)
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
    if rows <= limit_rows:
        return answer
    return answer.slice(0, limit_rows).replace_schema_metadata({_CUT: str(limit_rows)})


def _one_line(error: Exception) -> str:
    """Keeps what is wrong and DuckDB's hint of near names; leaves out the excerpt with its marker line."""
    text = str(error).split("\nLINE ")[0]
    return " ".join(text.split())
