"""The parts that all commands share: the application, and messages on standard error."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from e2emern.flows.cli.parts import Application
from e2emern.warehouse.wording import MOST_EXAMPLES, by_kind, plural

app = Application(
    name="e2emern",
    help="Annotate PubMed and PubTator dumps with diseases and chemicals linked to MeSH, and publish SQL tables.",
    epilog="Start with: e2emern demo",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def top(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks of errors.")] = False,
) -> None:
    """Annotate PubMed and PubTator dumps with diseases and chemicals, linked to MeSH, in SQL tables."""
    if show_version:
        from importlib.metadata import version

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
    print(f"e2emern: {line}", file=sys.stderr)


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
