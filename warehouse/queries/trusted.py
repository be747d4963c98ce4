"""Answer a query of this software in this process; `warehouse.queries.sql` answers any other, in a child process."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.answers import MEMORY, TIMEOUT_S, batches_of, check_unicode, settings, table_of
from e2emern.warehouse.snapshots.opening import attach
from e2emern.warehouse.snapshots.reader import open_snapshot


def query_trusted(
    home: Home,
    sql: str,
    *,
    parameters: Mapping[str, object] | None = None,
    number: int | None = None,
    earlier: int | None = None,
    limit_rows: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> pa.Table:
    """Return the answer to a SELECT of this software, like `warehouse.queries.sql.query` but in this process.

    Raises `QueryRefusedError` if the query fails or exceeds a limit; `WarehouseError` without a snapshot.
    """
    check_unicode({f"${name}": value for name, value in (parameters or {}).items()})
    with settings(MEMORY) as config, open_snapshot(home, number, config=config) as connection:
        if earlier is not None:
            attach(connection, home.snapshot(earlier).resolve(), "earlier")
        with batches_of(connection, sql, parameters or {}, limit_rows=limit_rows, timeout_s=timeout_s) as (
            schema,
            batches,
        ):
            return table_of(schema, batches, limit_rows=limit_rows)
