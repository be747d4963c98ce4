"""Answer one SQL query from the current snapshot, in a child process without access to anything else on the machine.

The child runs the query (`warehouse.queries.sql_child`) and sends the answer in the Arrow IPC streaming format. This
process kills it at the time limit, whatever it does: some functions of DuckDB ignore limits and interrupts.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from e2emern.warehouse.errors import QueryRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.answers import MEMORY, TIMEOUT_S, check_unicode, is_cut, table_of, too_long

__all__ = ["MEMORY", "TIMEOUT_S", "is_cut", "query"]

_PROGRAM = "from e2emern.warehouse.queries.sql_child import main; main()"
_ROOT = Path(__file__).parents[3]  # of the package, so that the child runs the same code


@dataclass(frozen=True, slots=True)
class Request:
    """The request to the child process. The limits are those of `query`."""

    home: Home
    sql: str
    parameters: Mapping[str, object]
    number: int | None
    earlier: int | None
    limit_rows: int | None
    timeout_s: float
    memory_limit: str


def query(
    home: Home,
    sql: str,
    *,
    parameters: Mapping[str, object] | None = None,
    number: int | None = None,
    earlier: int | None = None,
    limit_rows: int | None = None,
    timeout_s: float = TIMEOUT_S,
    memory_limit: str = MEMORY,
) -> pa.Table:
    """Return the answer to one SELECT (or DESCRIBE, SHOW, SUMMARIZE): all its rows, or the first `limit_rows`.

    `parameters` are the values of `$name` in the query. It reads snapshot `number`, by default the current one. If
    `earlier` is the number of another snapshot, its tables can be read as `earlier.documents` and so on. `is_cut`
    returns whether a limit left rows out. Raises
    `QueryRefusedError` if the query is invalid, is or contains another statement than SELECT, calls a function in a
    FROM clause that can do more than read, accesses a file, needs more than `timeout_s` seconds or `memory_limit` of
    memory and as much disk, or if its answer exceeds `memory_limit`; `WarehouseError` without a snapshot.
    """
    check_unicode({"the query": sql, **{f"${name}": value for name, value in (parameters or {}).items()}})
    request = Request(home, sql, dict(parameters or {}), number, earlier, limit_rows, timeout_s, memory_limit)
    with _child() as child:
        assert child.stdin is not None
        assert isinstance(child.stdout, io.BufferedReader)
        child.stdout.read(1)  # it has started: only the query counts towards the time limit
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(min(timeout_s, threading.TIMEOUT_MAX), end)
        timer.daemon = True
        timer.start()
        try:
            child.stdin.write(pickle.dumps(request))
            child.stdin.flush()
            with pa.ipc.open_stream(child.stdout) as reader:
                answer = table_of(reader.schema, reader, limit_rows=limit_rows)
            problem = json.loads(child.stdout.read())
        except (pa.ArrowException, OSError, ValueError) as error:
            if late.is_set():
                raise QueryRefusedError(too_long(timeout_s)) from error
            raise QueryRefusedError(_died(child, memory_limit)) from error
        finally:
            timer.cancel()
    if problem["failed"]:
        raise WarehouseError(problem["failed"])
    if problem["refused"]:
        raise QueryRefusedError(problem["refused"])
    return answer


@contextmanager
def _child() -> Iterator[subprocess.Popen[bytes]]:
    """Start a child that runs a query; end it after the block. It also ends when its standard input closes."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in filter(None, (child.stdin, child.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()


def _died(child: subprocess.Popen[bytes], memory: str) -> str:
    """Return the message about a child that ended without an answer."""
    code = child.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"the process of the query ended early ({how}); it may need more memory than {memory}; ask for less"
