"""Manage the sources of a home: `sources list`, `remove`."""

from __future__ import annotations

from typing import Annotated

import typer

from e2emern.flows.cli.application import group, say
from e2emern.flows.cli.options import HomeFolder, Why
from e2emern.warehouse.wording import plural

_LISTED = """
SELECT source, format, documents, mentions, failed AS failures, status, last_run AS run
FROM sources WHERE current ORDER BY rank
"""

sources_app = group("sources", says="List the sources of a home, and withdraw one.")


@sources_app.command(
    "list", short_help="List the sources, lowest rank first", epilog="Example: e2emern sources list --home home"
)
def list_all(home: HomeFolder) -> None:
    """List the sources that the tables show, lowest rank first, and those that are withdrawn."""
    from e2emern.flows.cli.terminal import VisibleConsole, show_line, show_table
    from e2emern.warehouse.queries.trusted import query_trusted
    from e2emern.warehouse.snapshots.withdraw import withdrawals

    console = VisibleConsole()
    show_table(query_trusted(home, _LISTED), console=console)
    for one in withdrawals(home):
        why = f": {one.why}" if one.why else ""
        show_line(f"{one.source} was withdrawn {one.when[:16].replace('T', ' ')} by {one.by}{why}", console=console)


@sources_app.command(
    short_help="Withdraw a source",
    epilog="Example: e2emern sources remove notes.csv --home home --why 'wrong column of text'",
)
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `sources list` prints it.")],
    home: HomeFolder,
    why: Why = None,
) -> None:
    """Withdraw a source, and publish the tables without it; earlier revisions of its documents are shown again.

    `snapshots prune` deletes its files once no snapshot shows them. To bring the source back, run `annotate` with its
    file.
    """
    from e2emern.warehouse.snapshots.withdraw import withdraw

    snapshot = withdraw(home, name, why=why)
    print(
        f"snapshot {snapshot.number} no longer has {name}: {plural(snapshot.documents, 'document')}, "
        f"{plural(snapshot.mentions, 'mention')}"
    )
    say(f"e2emern snapshots prune deletes its files; to bring it back: e2emern annotate FILE --home {home}")
