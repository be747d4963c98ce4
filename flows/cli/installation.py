"""Run an installation: `server`, `deploy`, `worker`, `night`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app, say


@app.command(epilog="Example: e2emern server")
def server(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port to listen on.", show_default="4200")] = None,
) -> None:
    """Start the Prefect server of an installation, and keep it running. Its page is http://127.0.0.1:4200.

    The page asks for the string that `python -m e2emern.flows.credentials` prints. It is made on first use. Give the
    other commands PREFECT_API_URL if the server is on another host or port.
    """
    from e2emern.flows.installation import start_server

    given = {"--host": host, "--port": port}
    start_server([word for name, value in given.items() if value is not None for word in (name, str(value))])


@app.command(epilog="Example: e2emern deploy")
def deploy(
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Deployments to register.", show_default="the shipped ones")
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the deployments and systemd units here to edit; register nothing."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change; change nothing.")] = False,
) -> None:
    """Create the work queues, and register the deployments with the server: what runs at what time.

    It first prints what changes. Repeat it after an upgrade and after an edit of a file. It waits up to a minute for a
    server that is starting. Times, parameters and triggers of this installation are in e2emern.toml, in tables
    [deployments.NAME]. What was set in Prefect's page stays unless that file names it.
    """
    from e2emern.flows import installation

    if copy is None:
        sys.exit(installation.deploy(file or installation.PREFECT_FILE, dry=dry_run))
    for written in installation.copy_files(copy):
        say(f"wrote {written}")


@app.command(epilog="Example: e2emern worker")
def worker(
    work_queue: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this queue; may be repeated.", show_default="three workers for all"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most flow runs at a time of a worker with --work-queue.")
    ] = None,
) -> None:
    """Run the flows that the server hands out, until stopped: one worker waits for batches, one annotates, one trains.

    On a host that only annotates: e2emern worker --work-queue annotate --work-queue backfill --limit 1. The settings
    are those of the environment (E2EMERN_HOME) or of e2emern.toml in this folder; without either, the tables are in
    its folder home.
    """
    from e2emern.flows import installation

    if work_queue:
        installation.start_worker(work_queue, limit=limit)
    if limit is not None:
        raise typer.BadParameter("needs --work-queue", param_hint="--limit")
    sys.exit(installation.run_workers(say))


@app.command(epilog="Example: e2emern night")
def night() -> None:
    """Start a night now, outside its schedule: a worker fetches new files, annotates them and publishes."""
    from e2emern.flows.installation import start_night

    start_night()
