"""The library of named queries: the `.sql` files of this folder, each with a header that describes it.

A header is comment lines: a sentence, more text if needed, then a line for each parameter,

    -- $name kind [= default]: what it restricts

and an example. Values reach DuckDB as prepared parameters, never as SQL text. Kinds: `text`, `integer`, `number`;
`type`, an entity type in any case; `concept`, a MeSH id or a name; `snapshot`, the number of an earlier snapshot, which
the query then reads as the catalog `earlier`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from e2emern.warehouse.errors import QueryRefusedError

TYPES: Final[dict[str, type[str] | type[int] | type[float]]] = {
    "text": str,
    "integer": int,
    "number": float,
    "type": str,
    "concept": str,
    "snapshot": int,
}

_PARAMETER = re.compile(r"\$(?P<name>\w+) (?P<kind>\w+)(?: = (?P<default>\S+))?: (?P<description>.+)")
_EXAMPLE = "Example: "
_NOTHING, _PREVIOUS = "null", "previous"  # defaults that are keywords, not values

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a named query. `default` is the text in the header, None if there is none."""

    name: str
    kind: str
    default: str | None
    description: str

    @property
    def required(self) -> bool:
        """Whether a value is required."""
        return self.default is None

    @property
    def value(self) -> Value:
        """The default as a value; None if there is none, or if it is determined when the query runs."""
        return None if self.default in (None, _NOTHING, _PREVIOUS) else TYPES[self.kind](str(self.default))


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One query of the library."""

    name: str
    description: str  # one sentence
    notes: str  # further text, may be empty
    parameters: tuple[Parameter, ...]
    example: str  # a command line
    sql: str  # with its header


@cache
def library() -> dict[str, NamedQuery]:
    """Return every named query by name, in alphabetical order."""
    return {path.stem: read_query(path) for path in sorted(Path(__file__).parent.glob("*.sql"))}


def read_query(path: Path) -> NamedQuery:
    """Return the query in a file. Raises `QueryRefusedError` if its header is malformed."""
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
