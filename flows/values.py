"""The values of answers as text, JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from datetime import timedelta
from itertools import count
from typing import Any, Protocol

import numpy as np
import pyarrow as pa


class Writer(Protocol):
    """The part of a text stream that CSV needs."""

    def write(self, data: str, /) -> object: ...


def interval(value: pa.MonthDayNano) -> str:
    """Return a time interval in words; months, days and seconds stay apart: `1 months 2 days 0:00:05`."""
    parts = [f"{number} {unit}" for number, unit in ((value.months, "months"), (value.days, "days")) if number]
    if value.nanoseconds or not parts:
        parts.append(str(timedelta(microseconds=value.nanoseconds / 1000)))
    return " ".join(parts)


def records_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table with distinct column names, with the values of `values_of`."""
    columns = [values_of(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def values_of(column: pa.ChunkedArray[Any]) -> list[Any]:
    """Return the values of a column; dates and times beyond Python's range are text: `10000-01-01`, `infinity`."""
    try:
        return column.to_pylist()
    except (OverflowError, ValueError):
        return [_value(each) for each in column]


def text_of(value: object) -> str:
    """Return a value in one line of text; None is null."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, pa.MonthDayNano):
        return interval(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text_of(each)}" for name, each in value.items())
    return str(value)


def distinct(names: list[str]) -> list[str]:
    """Number repeated names from the second on: `a`, `a_1`."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count(1))
        found.append(name if name not in found else next(each for each in numbered if each not in {*names, *found}))
    return found


def as_json(value: object) -> object:
    """Return a value for `json.dumps`: infinity and NaN are None, an interval is text."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case pa.MonthDayNano():
            return interval(value)
        case dict():
            return {key: as_json(each) for key, each in value.items()}
        case list() | tuple():
            return [as_json(each) for each in value]
    return value


def write_csv(answer: pa.Table, out: Writer) -> None:
    """Write a table with distinct column names as CSV; lists are JSON."""
    writer = csv.writer(out, lineterminator="\n")
    quoting = csv.writer(
        out, lineterminator="\n", quoting=csv.QUOTE_ALL
    )  # minimal quoting leaves a carriage return unquoted
    columns = [values_of(column) for column in answer.columns]
    for row in (answer.column_names, *zip(*columns, strict=True)):
        cells = [_csv_cell(value) for value in row]
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoting if has_return else writer).writerow(cells)


def _csv_cell(value: object) -> object:
    if isinstance(value, list | dict):
        return json.dumps(as_json(value), ensure_ascii=False, default=str)
    return interval(value) if isinstance(value, pa.MonthDayNano) else value


def _value(value: Any) -> Any:
    """Return the value of an Arrow scalar like `as_py`, with text for dates and times beyond Python's range."""
    kind = value.type
    if not value.is_valid:
        return None
    if pa.types.is_map(kind):
        return [tuple(_value(entry).values()) for entry in value.values]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [_value(each) for each in value.values]
    if pa.types.is_struct(kind):
        return {name: _value(each) for name, each in value.items()}
    if pa.types.is_union(kind):
        return _value(value.value)
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return _far(value)


def _far(value: Any) -> str:
    """Return an Arrow date or timestamp of any year as text; the largest integer and its negative are infinity."""
    if abs(value.value) == 2 ** (value.type.bit_width - 1) - 1:
        return "infinity" if value.value > 0 else "-infinity"
    if pa.types.is_date(value.type):
        return str(np.datetime64(value.value, "D"))
    zone = "+00:00" if value.type.tz else ""
    return str(np.datetime64(value.value, value.type.unit)).replace("T", " ") + zone
