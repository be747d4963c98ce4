"""Show the state of a home: `status`."""

from __future__ import annotations

from e2emern.flows.cli.application import app
from e2emern.flows.cli.options import HomeFolder


@app.command(epilog="Example: e2emern status --home home")
def status(home: HomeFolder) -> None:
    """Show what a home holds: its snapshot, its last run, damaged sources, failures and invalid annotations by kind."""
    from e2emern.flows.cli.render import print_status
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.warehouse.queries.status import status as status_of

    print_status(status_of(home), console=VisibleConsole())
