"""Write metrics for monitoring: `metrics`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app
from e2emern.flows.cli.options import HomeFolder


@app.command(epilog="Example: e2emern metrics --home home --output /var/lib/node_exporter/e2emern.prom")
def metrics(
    home: HomeFolder,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to replace atomically.", show_default="standard output")
    ] = None,
) -> None:
    """Write metrics of a home in Prometheus' text format: last run, backlog, snapshot, drift, disk, checks.

    Run it from a timer every few minutes, and write to the folder of node_exporter's textfile collector.
    `e2emern explore --metrics-token FILE` serves the same at /metrics.
    """
    from prometheus_client import generate_latest

    from e2emern.flows.check import check_host
    from e2emern.flows.metrics import read_metrics, write_metrics

    checks = check_host(home.root.absolute(), online=False)
    if output:
        write_metrics(output, home, checks=checks)
    else:
        print(generate_latest(read_metrics(home, checks=checks)).decode(), end="")
