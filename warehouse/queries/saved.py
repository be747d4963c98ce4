"""Answer a named query (`warehouse.queries`) from the current snapshot, through `warehouse.queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from e2emern.warehouse.errors import QueryRefusedError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries import Value, library
from e2emern.warehouse.queries.answers import TIMEOUT_S
from e2emern.warehouse.queries.concepts import find_concept, find_type
from e2emern.warehouse.queries.trusted import query_trusted
from e2emern.warehouse.snapshots.reader import read_snapshot
from e2emern.warehouse.snapshots.refs import number_before, numbers


def answer(
    home: Home,
    name: str,
    given: Mapping[str, Value] | None = None,
    *,
    limit_rows: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> pa.Table:
    """Return the answer of a named query: all rows, or the first `limit_rows`, as `warehouse.queries.sql.query` does.

    `given` holds values by parameter; a parameter that is missing or None gets its default. Raises
    `QueryRefusedError` for an unknown query or parameter, a missing value, a concept that is not in the vocabulary,
    a snapshot that does not exist, or a query that needs more than `timeout_s` seconds.
    """
    if (asked := library().get(name)) is None:
        raise QueryRefusedError(f"no query is named {name!r}; expected one of {', '.join(library())}")
    values = {key: value for key, value in (given or {}).items() if value is not None}
    known = [parameter.name for parameter in asked.parameters]
    if unknown := sorted(values.keys() - set(known)):
        raise QueryRefusedError(f"{name} has no parameter {unknown[0]!r}; expected {', '.join(known) or 'none'}")
    earlier, bound = None, dict[str, Value]()
    for parameter in asked.parameters:
        value = values.get(parameter.name, parameter.value)
        if value is None and parameter.required:
            raise QueryRefusedError(f"{name} needs a value for {parameter.name}: {parameter.description}")
        if parameter.kind == "snapshot":
            earlier = _earlier_snapshot(home, int(value)) if value is not None else _previous_snapshot(home)
        elif parameter.kind == "concept" and value is not None:
            bound[parameter.name] = find_concept(home, str(value))
        elif parameter.kind == "type" and value is not None:
            bound[parameter.name] = find_type(home, str(value))
        else:
            bound[parameter.name] = value
    return query_trusted(home, asked.sql, parameters=bound, earlier=earlier, limit_rows=limit_rows, timeout_s=timeout_s)


def _earlier_snapshot(home: Home, number: int) -> int:
    if not home.snapshot(number).exists():
        kept = ", ".join(map(str, numbers(home))) or "none"
        raise QueryRefusedError(f"has no snapshot {number}; it keeps {kept}", path=home.root)
    return number


def _previous_snapshot(home: Home) -> int:
    current = read_snapshot(home).number
    before = number_before(home, current)
    if before is None:
        raise QueryRefusedError(f"has no snapshot before {current}; there is nothing to compare with", path=home.root)
    return before
