"""Run one untrusted query in a process of its own; `warehouse.queries.sql` starts it.

DuckDB is restricted: no external access except the Parquet files of the snapshot's views, no extensions, a locked
configuration. Only a SELECT is run, since a COPY could write to the readable files. A CTE can hold a COPY, and
functions such as `query` run a text as SQL. So each part of a query must be a SELECT, and each function in a FROM
clause must be one that only reads. The kernel limits the memory and the CPU time of the process, because some
functions of DuckDB do not respect its memory limit.

Standard output: one byte when ready, the answer as an Arrow IPC stream, then a JSON object with `refused` and
`failed`, the message of an error or null.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import IOBase
from pathlib import Path

import duckdb
import pyarrow as pa

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import QueryRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.answers import NO_MEMORY, batches_of, memory_limit, settings
from e2emern.warehouse.queries.sql import Request
from e2emern.warehouse.snapshots.opening import attach, connected, prepare, restrict
from e2emern.warehouse.snapshots.refs import existing_number
from e2emern.warehouse.wording import one_line

_OWN_BYTES = 256 * 1024 * 1024  # for the process itself, beyond what the query may use
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


def main() -> None:
    """Read a pickled `Request` from standard input, and write the answer to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which kills this process
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not reach the answer
        out.write(b"\n")
        out.flush()
        request: Request = pickle.load(sys.stdin.buffer)  # noqa: S301 (from the parent)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        problem = send_answer(request, out)
        out.write(json.dumps(problem).encode())


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def send_answer(
    request: Request, out: IOBase, *, connection: duckdb.DuckDBPyConnection | None = None
) -> dict[str, str | None]:
    """Write the answer as an Arrow stream, empty after an error; return the messages of errors.

    Without a `restricted` connection, open one and limit this process permanently.
    """
    begun = False
    problem: dict[str, str | None] = {"refused": None, "failed": None}
    try:
        with nullcontext(connection) if connection else _limited(request) as connection:
            select = _single_select(connection, request.sql)
            parameters, limit = request.parameters, request.limit_rows
            with batches_of(connection, select, parameters, limit_rows=limit, timeout_s=math.inf) as (schema, batches):
                begun = True
                with pa.ipc.new_stream(out, schema) as writer:
                    for batch in batches:
                        writer.write_batch(batch)
    except QueryRefusedError as error:
        problem["refused"] = str(error)
    except WarehouseError as error:
        problem["failed"] = str(error)
    except MemoryError:
        problem["refused"] = NO_MEMORY
    if not begun:
        pa.ipc.new_stream(out, pa.schema([])).close()
    return problem


@contextmanager
def _limited(request: Request) -> Iterator[duckdb.DuckDBPyConnection]:
    with restricted(request) as connection:
        _limit_process(memory_limit(connection)[1], timeout_s=request.timeout_s)
        yield connection


@contextmanager
def restricted(request: Request) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the snapshot so that only its Parquet files can be read, within the limits of the request."""
    home, root = request.home, request.home.root.resolve()
    files, numbers = _files(home, number=request.number, earlier=request.earlier)
    with settings(request.memory_limit) as config, connect(config=config) as connection:
        prepare(connection, root)
        for name, number in numbers.items():
            attach(connection, home.snapshot(number).resolve(), name)
        connection.execute("USE warehouse")
        restrict(connection, paths=[root / path for path in sorted(files)])
        connection.execute("SET lock_configuration = true")
        yield connection


def _files(home: Home, *, number: int | None, earlier: int | None) -> tuple[set[str], dict[str, int]]:
    """Return the files that the requested snapshots read, and each snapshot's number by the name of its catalog."""
    numbers = {"warehouse": existing_number(home, number)} | ({} if earlier is None else {"earlier": earlier})
    with connected(home.root.resolve()) as connection:
        for name, number in numbers.items():
            attach(connection, home.snapshot(number).resolve(), name)
        named = " UNION ".join(f"SELECT path FROM {name}.files" for name in numbers)
        return {path for (path,) in connection.execute(named).fetchall()}, numbers


def _limit_process(memory: int, *, timeout_s: float) -> None:
    """Limit the private memory of this process, and its CPU time in case its parent is stopped."""
    status = Path("/proc/self/status")
    if status.exists() and (used := re.search(r"VmData:\s+(\d+) kB", status.read_text())):
        _lower(resource.RLIMIT_DATA, int(used[1]) * 1024 + memory + _OWN_BYTES)
    used_s = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _lower(resource.RLIMIT_CPU, used_s + 1 + timeout_s * (os.cpu_count() or 1))
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, most: float) -> None:
    """Lower a limit of this process permanently, unless it is lower already."""
    _, hard = resource.getrlimit(which)
    if most < (sys.maxsize if hard == resource.RLIM_INFINITY else hard):
        resource.setrlimit(which, (math.ceil(most), math.ceil(most)))


def _single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryRefusedError(one_line(error)) from error
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
        raise QueryRefusedError(one_line(error)) from error
    if failure is not None:
        raise QueryRefusedError(failure)
    if others := sorted({each for each in types if each.endswith("_NODE")} - _SELECT_NODES):
        kind = others[0].removesuffix("_NODE").removesuffix("_QUERY")
        raise QueryRefusedError(f"found {kind} within the query, expected only SELECT; the tables are read-only")
    if unknown := sorted({each.lower() for each in functions} - _TABLE_FUNCTIONS):
        known = ", ".join(sorted(_TABLE_FUNCTIONS))
        raise QueryRefusedError(
            f"found FROM {unknown[0]}(...), expected a table or a function that only reads: {known}"
        )
