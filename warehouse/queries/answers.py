"""Read the answer to a query batch by batch, within limits of time, memory and rows."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from e2emern.warehouse.errors import QueryRefusedError
from e2emern.warehouse.wording import one_line

if TYPE_CHECKING:
    import duckdb

TIMEOUT_S: Final = 300.0
MEMORY: Final = "2GB"

NO_MEMORY = "the query needs more memory than it may use; ask for less"
_CUT = b"cut_at_rows"
_BATCH_ROWS = 2048

Config = dict[str, str | bool | int | float | list[str]]


@contextmanager
def settings(memory: str) -> Iterator[Config]:
    """Yield the DuckDB settings of a query, with a temporary folder for what does not fit into memory."""
    with tempfile.TemporaryDirectory(prefix="e2emern-sql-") as spill:
        yield {
            "memory_limit": memory,
            "temp_directory": spill,
            "max_temp_directory_size": memory,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # a table name never means a Python variable
        }


def is_cut(answer: pa.Table) -> bool:
    """Return whether the query had more rows than its limit."""
    return _CUT in (answer.schema.metadata or {})


def table_of(schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, limit_rows: int | None) -> pa.Table:
    """Return the batches as a table of at most `limit_rows` rows, marked for `is_cut` if there were more."""
    answer = pa.Table.from_batches(batches, schema=schema)
    if limit_rows is None or len(answer) <= limit_rows:
        return answer
    return answer.slice(0, limit_rows).replace_schema_metadata({_CUT: str(limit_rows)})


@contextmanager
def batches_of(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, object],
    *,
    limit_rows: int | None,
    timeout_s: float,
) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Run one SELECT; yield the schema and the batches of its answer, up to the one that exceeds `limit_rows`.

    Raises `QueryRefusedError` if the query fails, takes longer than `timeout_s` seconds, or if its answer exceeds the
    memory limit of the connection.
    """
    import duckdb  # slow, and the parent process of an ad-hoc query needs no DuckDB

    memory, late = memory_limit(connection), threading.Event()
    try:
        with _interrupted(connection, late, timeout_s=timeout_s):
            reader = connection.sql(sql, params=dict(parameters) or None).to_arrow_reader(_BATCH_ROWS)
            yield reader.schema, _limited(reader, memory, limit_rows=limit_rows)
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryRefusedError(too_long(timeout_s) if late.is_set() else one_line(error)) from error
    except MemoryError as error:
        raise QueryRefusedError(NO_MEMORY) from error


def too_long(timeout_s: float) -> str:
    """Return the message about a query that reached its time limit."""
    return f"the query took longer than {timeout_s:g} s; ask for less or allow more time"


def check_unicode(texts: Mapping[str, object]) -> None:
    """Raise `QueryRefusedError` for invalid UTF-8, which Python keeps in strings as lone surrogates."""
    for name, text in texts.items():
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            raise QueryRefusedError(f"{name}: found a byte that is not UTF-8 at character {error.start}") from error


@contextmanager
def _interrupted(connection: duckdb.DuckDBPyConnection, late: threading.Event, *, timeout_s: float) -> Iterator[None]:
    """Interrupt the connection after a time, and set `late`."""
    done = threading.Event()

    def watch() -> None:
        if not done.wait(min(timeout_s, threading.TIMEOUT_MAX)):
            late.set()
            connection.interrupt()
            while not done.wait(0.05):  # an interrupt between planning and running is lost
                connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _limited(
    batches: Iterable[pa.RecordBatch], memory: tuple[str, int], *, limit_rows: int | None
) -> Iterator[pa.RecordBatch]:
    most = math.inf if limit_rows is None else limit_rows
    text, room = memory
    rows = 0
    for batch in batches:
        room -= batch.nbytes
        if room < 0:
            raise QueryRefusedError(
                f"the answer needs more memory than {text}; ask for fewer rows or columns, set "
                "limit_rows or raise memory_limit"
            )
        yield batch
        rows += len(batch)
        if rows > most:
            return


def memory_limit(connection: duckdb.DuckDBPyConnection) -> tuple[str, int]:
    """Return the memory limit of a connection as DuckDB writes it, and in bytes."""
    sql = "SELECT current_setting('memory_limit') AS text, parse_formatted_bytes(text)"
    ((text, in_bytes),) = connection.execute(sql).fetchall()
    return str(text), int(in_bytes)
