"""Connect to DuckDB only if the process can still open files; otherwise DuckDB would abort the process.

DuckDB does not verify the checksums of Parquet pages; `warehouse.parquet.verify_pages` does.
"""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack
from typing import Any

import duckdb

from e2emern.warehouse.errors import WarehouseError

_NEEDED = 16  # files; a connection without a query needs one


def connect(database: str = ":memory:", *, config: dict[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
    """Return a connection, as `duckdb.connect`. Raises `WarehouseError` if too many files are open."""
    try:
        with ExitStack() as opened:
            for _ in range(_NEEDED):
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise WarehouseError(
            f"DuckDB cannot be used: {error.strerror} (at most {limit:,}); raise the limit with ulimit -n"
        ) from error
    return duckdb.connect(database, config=config or {})
