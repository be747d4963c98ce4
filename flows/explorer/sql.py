"""The SQL page: an editor, lists of tables and named queries, and the answer as table, chart and CSV."""

from __future__ import annotations

import io
import re
import threading
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from e2emern.flows.charts import Point
from e2emern.flows.explorer.site import page, site_of
from e2emern.flows.values import distinct, records_of, write_csv
from e2emern.warehouse.errors import QueryRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries import TYPES, NamedQuery, library
from e2emern.warehouse.queries.saved import answer
from e2emern.warehouse.queries.sql import is_cut, query
from e2emern.warehouse.snapshots.views import LISTS, TABLES, VIEWS

LONGEST_SQL = 20_000  # characters
MOST_ROWS, MOST_CSV_ROWS = 500, 100_000
TIMEOUT_S = 30.0
_MOST_BARS = 40
_AT_ONCE = threading.BoundedSemaphore(2)  # queries; each may use 2 GB
_PARAMETER = re.compile(r"\$([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query and the values of its parameters, from the address."""

    sql: str
    named: NamedQuery | None
    values: dict[str, str | None]

    @property
    def parameters(self) -> list[dict[str, str]]:
        """The parameters to fill in: name, value and what each is."""
        if self.named:
            return [
                {"name": one.name, "value": self.values.get(one.name) or "", "about": f"{one.kind}: {one.description}"}
                for one in self.named.parameters
            ]
        names = dict.fromkeys(_PARAMETER.findall(self.sql))
        return [{"name": name, "value": self.values.get(name) or "", "about": "empty for NULL"} for name in names]


def sql(request: Request) -> Response:
    """Answer `/sql?q=SELECT...` or `/sql?named=NAME`, with `p.NAME=VALUE` for parameters."""
    site, asked = site_of(request), _asked(request)
    result: pa.Table | None = None
    problem = None
    if _is_complete(asked):
        try:
            result = _answer(site.home, asked, limit=MOST_ROWS)
        except WarehouseError as error:
            problem = str(error)
    with site.snapshots.session() as session:
        return page(
            request,
            "sql.html",
            session,
            title=asked.named.name if asked.named else "SQL",
            asked=asked,
            problem=problem,
            names=result.column_names if result is not None else [],
            rows=records_of(result) if result is not None else None,
            cut=result is not None and is_cut(result),
            most=MOST_ROWS,
            points=chart_of(result) if result is not None else [],
            tables=_tables(),
            library=library(),
            download=str(request.url.include_query_params().replace(path="/sql.csv").query),
        )


def download(request: Request) -> Response:
    """Answer `/sql.csv?q=...` with the same answer as CSV."""
    try:
        result = _answer(site_of(request).home, _asked(request), limit=MOST_CSV_ROWS)
    except WarehouseError as error:
        return PlainTextResponse(f"{error}\n", status_code=400)
    out = io.StringIO()
    write_csv(result, out)
    headers = {"content-disposition": 'attachment; filename="answer.csv"'}
    if is_cut(result):
        headers["x-e2emern-cut"] = f"after {MOST_CSV_ROWS} rows"
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def chart_of(result: pa.Table) -> list[Point]:
    """Return the bars of an answer: its first column that is text, a date or a whole number, and its last number."""
    numbers = [
        field.name for field in result.schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    labels = [name for name in result.column_names if name not in numbers[-1:] and not _is_nested(result, name)]
    if not numbers or not labels or not 2 <= len(result) <= MOST_ROWS:
        return []
    value, label = numbers[-1], labels[0]
    points = [(str(row[label]), row[value]) for row in records_of(result.slice(0, _MOST_BARS))]
    return [(name, float(each)) for name, each in points] if all(_is_drawable(each) for _, each in points) else []


def _tables() -> dict[str, dict[str, str]]:
    """Return the columns of every table, with their descriptions."""
    return {
        name: {column.name: (column.metadata or {})[b"description"].decode() for column in schema}
        for name, (schema, *_) in (VIEWS | LISTS | TABLES).items()
    }


def _is_nested(result: pa.Table, name: str) -> bool:
    return pa.types.is_nested(result.schema.field(name).type)


def _is_drawable(value: Any) -> bool:
    return value is not None and 0 <= value < 1e300


def _asked(request: Request) -> Asked:
    given = request.query_params
    named = library().get(given.get("named", ""))
    sql = named.sql if named else given.get("q", "")[:LONGEST_SQL]
    values = {name[2:]: value or None for name, value in given.items() if name.startswith("p.")}
    return Asked(sql=sql, named=named, values=values)


def _is_complete(asked: Asked) -> bool:
    """Return whether a query can run: a named one first needs the values of its required parameters."""
    if asked.named:
        return all(asked.values.get(one.name) for one in asked.named.parameters if one.required)
    return bool(asked.sql.strip())


def _answer(home: Home, asked: Asked, *, limit: int) -> pa.Table:
    if not _AT_ONCE.acquire(timeout=TIMEOUT_S):
        raise QueryRefusedError("other queries are running; try again in a minute")
    try:
        if asked.named:
            kinds = {one.name: one.kind for one in asked.named.parameters}
            values = {name: _cast(value, kinds[name]) for name, value in asked.values.items() if name in kinds}
            result = answer(home, asked.named.name, values, limit_rows=limit, timeout_s=TIMEOUT_S)
        else:
            used = set(_PARAMETER.findall(asked.sql))
            given = {name: value for name, value in asked.values.items() if name in used}
            result = query(home, asked.sql, parameters=given, limit_rows=limit, timeout_s=TIMEOUT_S)
    finally:
        _AT_ONCE.release()
    renamed = result.rename_columns(distinct(result.column_names))
    return renamed.replace_schema_metadata(result.schema.metadata)  # whether it is cut


def _cast(value: str | None, kind: str) -> str | int | float | None:
    if value is None:
        return None
    try:
        return TYPES[kind](value)
    except ValueError as error:
        raise QueryRefusedError(f"found {value!r}, expected {kind}") from error
