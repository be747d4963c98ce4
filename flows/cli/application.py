"""The parts that all commands share: the application, common options, and messages on standard error."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.parts import Application
from flows.cli.visible import visible
from warehouse.wording import MOST_EXAMPLES, by_kind, plural

app = Application(
    name="e2emern",
    help="Annotate PubMed and PubTator dumps with diseases and chemicals, linked to MeSH, in SQL tables.",
    epilog="Begin with: e2emern demo",
    add_completion=False,
    pretty_exceptions_enable=False,
)

TIMEOUT_S = 300.0  # the same as in `warehouse.queries.sql`, which is too slow to import for --help


class Device(StrEnum):
    """The device for the model; `auto` is cuda if available."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class AnswerFormat(StrEnum):
    """The output format of the answer to a query."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


Folder = Annotated[Path, typer.Option("--home", metavar="DIR", help="Folder of the tables.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Most seconds to take.")]
Mesh = Annotated[
    Path,
    typer.Option(metavar="MESH", help="Entities table, or a MeSH version of the home.", show_default="the bundled one"),
]
Config = Annotated[
    Path, typer.Option(metavar="FILE", help="TOML file, or a shipped one: ours, student, paper, auxiliary.")
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the gold files.", show_default="that of the TOML file")
]
Branch = Annotated[
    list[str] | None,
    typer.Option(metavar="NUMBER", help="Only links to what is at or under this tree number; may be repeated."),
]
Allow = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Only links to these ids, one a line, and to those under --branch.")
]
Deny = Annotated[Path | None, typer.Option(metavar="FILE", help="No links to these ids, one a line.")]


@app.callback(invoke_without_command=True)
def top(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show where errors arise.")] = False,
) -> None:
    """Annotate PubMed and PubTator dumps with diseases and chemicals, linked to MeSH, in SQL tables."""
    if show_version:
        print(f"e2emern {version('e2emern')}")
        raise typer.Exit


def group(name: str, *, says: str) -> typer.Typer:
    """Return a new group of commands, `e2emern NAME ...`, that prints its help if called without a command."""
    commands = Application(help=says)
    commands.callback()(lambda: None)
    app.add_typer(commands, name=name)
    return commands


def say(line: str) -> None:
    """Print a line for the user on standard error, apart from the answer."""
    print(f"e2emern: {visible(line)}", file=sys.stderr)


def report_examples(counts: Mapping[str, int], examples: Sequence[str], *, noun: str = "invalid annotation") -> None:
    """Report how many items could not be used, by kind of problem, with at most ten examples; nothing if none.

    Args:
        counts: number of items by kind of problem, such as `outside the text`.
        examples: one line each, with the position.
        noun: what the items are, in the singular.
    """
    if counts:
        say(f"{plural(sum(counts.values()), noun)}: {by_kind(counts)}")
        for example in examples[:MOST_EXAMPLES]:
            say(f"for example, {example}")


class Examples:
    """Print the first lines of each kind; `finish` prints how many more there were: `fetched: and 1,190 more`."""

    def __init__(self, report: Callable[[str], None] = say, *, most: int | None = MOST_EXAMPLES) -> None:
        """Print with `report` at most `most` lines of each kind; all lines if it is None."""
        self._report = report
        self._most = most
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, line: str) -> None:
        """Count a line, and print it if it is among the first of its kind."""
        self._counts[kind] += 1
        if self._most is None or self._counts[kind] <= self._most:
            self._report(line)

    def finish(self) -> None:
        """Print how many lines of each kind were not printed."""
        for kind, number in self._counts.items():
            if self._most is not None and number > self._most:
                self._report(f"{kind}: and {number - self._most:,} more")
