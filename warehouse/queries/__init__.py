"""The library of named queries: the `.sql` files of this folder, each with a header that says what it answers.

A header is comment lines: a sentence, more text if needed, then a line for each parameter,

    -- $name kind [= default]: what it restricts

and an example. Values reach DuckDB as prepared parameters, never as text. Kinds: `text`, `integer`, `number`;
`concept`, which takes a MeSH id or a name; `snapshot`, the number of an earlier snapshot, which the query then
reads as the catalog `earlier`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pyarrow as pa

from warehouse.concepts import find_concept
from warehouse.errors import QueryRefusedError, WarehouseError
from warehouse.layout import Home
from warehouse.snapshot import current_snapshot
from warehouse.sql import TIMEOUT_S, query

TYPES: Final[dict[str, type[str] | type[int] | type[float]]] = {
    "text": str,
    "integer": int,
    "number": float,
    "concept": str,
    "snapshot": int,
}

_PARAMETER = re.compile(r"\$(?P<name>\w+) (?P<kind>\w+)(?: = (?P<default>\S+))?: (?P<description>.+)")
_EXAMPLE = "Example: "
_NOTHING, _PREVIOUS = "null", "previous"  # defaults that are no values

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a named query. `default` is as its header writes it, None where it has none."""

    name: str
    kind: str
    default: str | None
    description: str

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is None

    @property
    def value(self) -> Value:
        """The default as a value; None where there is none, or where it is found when the query runs."""
        return None if self.default in (None, _NOTHING, _PREVIOUS) else TYPES[self.kind](str(self.default))


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One query of the library."""

    name: str
    description: str  # one sentence
    notes: str  # more of it, may be empty
    parameters: tuple[Parameter, ...]
    example: str  # a command line
    sql: str  # with its header


@cache
def library() -> dict[str, NamedQuery]:
    """Returns every named query by name, in alphabetical order."""
    return {path.stem: read_query(path) for path in sorted(Path(__file__).parent.glob("*.sql"))}


def read_query(path: Path) -> NamedQuery:
    """Returns the query in a file. Raises `QueryRefusedError` where its header is of another form."""
    sql = path.read_text(encoding="utf-8")
    lines = [line[2:].strip() for line in sql.split("\nWITH", 1)[0].splitlines() if line.startswith("--")]
    prose = " ".join(line for line in lines if not line.startswith(("$", _EXAMPLE)))
    description, _, notes = prose.strip().partition(". ")
    examples = [line.removeprefix(_EXAMPLE) for line in lines if line.startswith(_EXAMPLE)]
    parameters = []
    for line in lines:
        if line.startswith("$"):
            found = _PARAMETER.fullmatch(line)
            if found is None or found["kind"] not in TYPES:
                raise QueryRefusedError(
                    f"{path.name}: found {line!r}, expected `$name kind [= default]: description` "
                    f"with a kind of {', '.join(TYPES)}"
                )
            parameters.append(Parameter(**found.groupdict()))
    if not description or len(examples) != 1:
        raise QueryRefusedError(f"{path.name}: its header must begin with a sentence and have one line {_EXAMPLE!r}")
    return NamedQuery(path.stem, description.rstrip(".") + ".", notes.strip(), tuple(parameters), examples[0], sql)


def answer(
    home: Home,
    name: str,
    given: Mapping[str, Value] | None = None,
    *,
    limit_rows: int = 10_000,
    timeout_s: float = TIMEOUT_S,
) -> pa.Table:
    """Returns the answer of a named query, at most `limit_rows` rows of it, as `warehouse.sql.query` does.

    `given` holds values by parameter; a parameter not given, or given None, has its default. Raises
    `QueryRefusedError` for an unknown query or parameter, a missing value, a concept that is not in the vocabulary,
    a snapshot that is not there, or a query that needs more than `timeout_s` seconds.
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
        else:
            bound[parameter.name] = value
    return query(home, asked.sql, parameters=bound, earlier=earlier, limit_rows=limit_rows, timeout_s=timeout_s)


def _earlier_snapshot(home: Home, number: int) -> int:
    if not home.snapshot(number).exists():
        kept = ", ".join(map(str, _kept(home))) or "none"
        raise QueryRefusedError(f"{home.root} has no snapshot {number}; it keeps {kept}")
    return number


def _previous_snapshot(home: Home) -> int:
    current = current_snapshot(home)
    if current is None:
        raise WarehouseError(f"{home.root} has no snapshot yet; annotate something into it first")
    before = [number for number in _kept(home) if number < current.number]
    if not before:
        raise QueryRefusedError(
            f"{home.root} has no snapshot before {current.number}; there is nothing to compare with"
        )
    return before[-1]


def _kept(home: Home) -> list[int]:
    return sorted(int(path.stem) for path in home.snapshots.glob("*.duckdb") if path.stem.isdigit())
