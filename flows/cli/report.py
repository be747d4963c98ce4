"""Write the report of a home: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import HomeFolder


@app.command(epilog="Example: e2emern report --home home --output report.html")
def report(
    home: HomeFolder,
    output: Annotated[Path, typer.Option(metavar="FILE", help="HTML file to write.")],
    nights: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most the last N nights.")] = 60,
) -> None:
    """Write one HTML file about the current snapshot: nights, drift, concepts, link scores, failures.

    The file has no script and loads nothing, so it can be mailed or archived. `explore` shows the same in a browser.
    """
    from e2emern.flows.report.home import home_report
    from e2emern.warehouse.files import atomic_write

    page = home_report(home, last=nights)
    with atomic_write(output) as file:
        file.write(page.encode())
    say(f"wrote {output}")
