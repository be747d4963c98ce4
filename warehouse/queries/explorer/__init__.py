"""The figures of the explorer: one `.sql` file each, with a comment that describes the answer.

A figure about a concept reads `mine`, the mentions of the concept (`concept-mine.sql`). `mine` is computed once for all
figures of a page; the SQL that a page shows has it as a common table expression, and every parameter as a literal, so
that it runs unchanged in any DuckDB client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from e2emern.warehouse.quoting import literal

Parameters = Mapping[str, str | bool]
MINE = "concept-mine"

_PARAMETER = re.compile(r"\$(\w+)")
_READS_MINE = re.compile(r"\bFROM mine\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The answer to one query of a page.

    Attributes:
        about: what it answers, in a sentence.
        sql: the query with its parameters as literals.
        rows: column names to values.
        cut: whether a limit left rows out.
    """

    name: str
    about: str
    sql: str
    rows: tuple[dict[str, Any], ...]
    cut: bool = False

    @property
    def first(self) -> dict[str, Any] | None:
        """The first row, None if there is none."""
        return self.rows[0] if self.rows else None


@cache
def sql_of(name: str) -> str:
    """Return the SQL of a figure, without the comment that describes it."""
    return _parts(name)[1]


@cache
def about(name: str) -> str:
    """Return the comment that describes a figure."""
    return _parts(name)[0]


def reads_mine(name: str) -> bool:
    """Return whether a figure reads the mentions of one concept, `mine`."""
    return _READS_MINE.search(sql_of(name)) is not None


def used(sql: str, parameters: Parameters) -> dict[str, str | bool]:
    """Return the parameters that an SQL text uses."""
    return {name: parameters[name] for name in dict.fromkeys(_PARAMETER.findall(sql))}


def whole_sql(name: str, parameters: Parameters) -> str:
    """Return the SQL of a figure that runs anywhere: with `mine`, and literals in place of parameters."""
    sql = sql_of(name)
    if reads_mine(name):
        mine = "\n".join(f"        {line}" for line in sql_of(MINE).splitlines())
        sql = sql.replace("WITH\n", f"WITH\n    mine AS (\n{mine}\n    ),\n", 1)

    def value(found: re.Match[str]) -> str:
        given = parameters[found[1]]
        return str(given).lower() if isinstance(given, bool) else literal(given)

    return _PARAMETER.sub(value, sql)


@cache
def _parts(name: str) -> tuple[str, str]:
    lines = (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    return " ".join(comment), "\n".join(line for line in lines if not line.startswith("--"))
