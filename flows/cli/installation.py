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
    """Run the Prefect server of an installation. Its UI is at http://127.0.0.1:4200.

    The UI asks for the string that `python -m e2emern.flows.credentials` prints; it is created on first use. If the
    server is on another host or port, set PREFECT_API_URL for the other commands.
    """
    from e2emern.flows.installation import start_server

    given = {"--host": host, "--port": port}
    start_server([word for name, value in given.items() if value is not None for word in (name, str(value))])


@app.command(epilog="Example: e2emern deploy")
def deploy(
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Deployments to register.", show_default="the bundled ones")
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the deployments and systemd units here to edit; register nothing."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change; change nothing.")] = False,
) -> None:
    """Create the work queues, and register the deployments with the server: which flow runs when.

    It first waits up to a minute for a server that is starting, and prints what will change. Repeat it after an upgrade
    and after editing a file. Schedules, parameters and triggers of this installation belong in e2emern.toml, in tables
    [deployments.NAME]. Changes made in Prefect's UI are kept unless that file sets them.
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
        int | None, typer.Option(min=1, metavar="N", help="With --work-queue: run at most N flow runs at a time.")
    ] = None,
) -> None:
    """Run flows until stopped: one worker for flows that wait for batches, one that annotates, one that trains.

    On a host that only annotates: e2emern worker --work-queue annotate --work-queue backfill --limit 1. Settings come
    from the environment (E2EMERN_HOME) or from e2emern.toml in this folder; without either, the tables are in the
    folder home.
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
