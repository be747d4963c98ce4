"""The main job: `annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from defaults import MESH, SAMPLE
from warehouse.layout import Home

from .application import Device, Folder, Mesh, app

if TYPE_CHECKING:
    from flows.annotate import Outcome


@app.command(epilog="Example: e2emern annotate pubmed26n0001.xml.gz 'updates/*.xml.gz' --home /data/home")
def annotate(
    context: typer.Context,
    home: Folder,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="Files, folders or glob patterns; without any, the bundled sample."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Model folder, or a version of the home.",
            show_default="the home's champion, or the bundled one",
        ),
    ] = None,
    mesh: Mesh = MESH,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.AUTO,
) -> None:
    """Annotate PubMed XML, PubTator and BioC files, plain, gzip or xz, and publish the tables.

    Sources that are done are skipped, so the same command continues after a stop and takes in new files only. Exit
    code 0 says that every record is accounted for.
    """
    from flows.temporary_server import temporary_server
    from tasks.choices import check_choices, find_model

    given = inputs or [str(SAMPLE)]
    check_choices(given, home=Home(home), model=find_model(model, home=Home(home)), mesh=mesh)
    if device is Device.CUDA:
        from tasks.models import pick_device

        pick_device(device.value)
    with temporary_server(verbose=context.find_root().params["verbose"]) as ready:
        from model.inference import cascade  # noqa: F401 (torch is imported while the server starts)

        ready()
        from flows.annotate import WATCH, IncompleteError, Watch
        from flows.annotate import annotate as annotate_flow
        from flows.watching import TerminalWatch

        incomplete = None
        with TerminalWatch(Console(stderr=True)) as shown:
            token = WATCH.set(Watch(shown.sources, shown.names, shown.documents))
            try:
                outcome = annotate_flow(inputs=given, home=home, model=model, mesh=mesh, device=device.value)
            except IncompleteError as error:
                incomplete, outcome = error, error.outcome
            finally:
                WATCH.reset(token)
    _show_outcome(outcome, Home(home), sample=not inputs)
    if incomplete:
        raise incomplete


def _show_outcome(outcome: Outcome, home: Home, *, sample: bool) -> None:
    from flows.answers import show_outcome, show_sample

    console = Console()
    if sample and outcome.snapshot:
        show_sample(home, SAMPLE.name, console=console)
    show_outcome(outcome, home, console=console)
