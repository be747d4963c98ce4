"""Show the state of a home: `status`."""

from __future__ import annotations

from typing import Annotated

import typer

from e2emern.flows.cli.application import app
from e2emern.flows.cli.options import HomeFolder


@app.command(epilog="Example: e2emern status --home home")
def status(
    home: HomeFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, never truncated.")] = False,
) -> None:
    """Show the state of a home: snapshot, last run, damaged sources, failures and invalid annotations by kind."""
    from e2emern.flows.cli.render import print_status, print_status_json
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.warehouse.queries.status import status as status_of

    (print_status_json if as_json else print_status)(status_of(home), console=VisibleConsole())
