"""Show a document, its mentions and its history: `trace`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from e2emern.flows.cli.application import app
from e2emern.flows.cli.options import HomeFolder
from e2emern.flows.visible import visible_json


class TraceFormat(StrEnum):
    """The output format of a history."""

    TEXT = "text"
    JSON = "json"


@app.command(epilog="Example: e2emern trace 99000016 --home home")
def trace(
    document: Annotated[str, typer.Argument(metavar="PMID", help="PMID, or a source's own document id.")],
    home: HomeFolder,
    form: Annotated[TraceFormat, typer.Option("--format", help="Output format.")] = TraceFormat.TEXT,
) -> None:
    """Show the text of a document with its mentions, and its history: revisions, withdrawals, snapshots, failures."""
    from e2emern.flows.cli.render import print_trace
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.warehouse.queries.trace import trace as trace_of

    history = trace_of(home, document)
    if form is TraceFormat.JSON:
        print(visible_json(history.to_json()))
    else:
        print_trace(history, console=VisibleConsole())
