"""The main job, `annotate`, and `demo`, which does it with the bundled sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.defaults import MESH, SAMPLE
from e2emern.flows.cli.application import app, report_examples, say
from e2emern.flows.cli.options import Device, HomeFolder, Mesh, OnDevice
from e2emern.warehouse.layout import Home

if TYPE_CHECKING:
    from e2emern.flows.annotate import IncompleteError, Outcome


@app.command(epilog="Example: e2emern annotate pubmed26n0001.xml.gz 'updates/*.xml.gz' --home /data/home")
def annotate(
    context: typer.Context,
    home: HomeFolder,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="Files, folders or glob patterns.")
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
    device: OnDevice = Device.AUTO,
    processes: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="Processes that run the model, each with its own memory.")
    ] = 1,
) -> None:
    """Annotate PubMed XML and text, PubTator and BioC files, plain, gzip or xz, and publish the tables.

    Sources that are done are skipped, so the same command continues after a stop and takes in new files only. Exit
    code 0 says that every record is accounted for.
    """
    from e2emern.flows.cli.render import show_outcome
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.tasks.resolve import holds_sample

    if not inputs:
        context.fail("give files, folders or patterns to annotate; `e2emern demo` annotates the bundled sample")
    if holds_sample(home, sample=SAMPLE):
        say(f"{home} also holds the invented documents of {SAMPLE.name}; give another --home to keep yours apart")
    outcome, incomplete = _annotate(inputs, home=home, model=model, mesh=mesh, device=device, processes=processes)
    show_outcome(outcome, home, console=VisibleConsole())
    invalid = outcome.invalid_annotations(home)
    report_examples(invalid.kinds, invalid.examples)
    if incomplete:
        raise incomplete


@app.command(epilog="Example: e2emern demo --home demo")
def demo(
    home: HomeFolder = Home(Path("demo")),
    device: OnDevice = Device.AUTO,
) -> None:
    """Annotate the bundled sample of 26 invented abstracts, and show what was found.

    The sample needs a home of its own: it is never mixed with other sources.
    """
    from e2emern.flows.cli.render import show_outcome, show_sample
    from e2emern.flows.cli.terminal import VisibleConsole
    from e2emern.tasks.resolve import check_home_of_sample

    console = VisibleConsole()
    check_home_of_sample(home, sample=SAMPLE)
    outcome, incomplete = _annotate([str(SAMPLE)], home=home, model=None, mesh=MESH, device=device)
    if outcome.snapshot:
        show_sample(home, SAMPLE.name, console=console)
    show_outcome(outcome, home, console=console)
    invalid = outcome.invalid_annotations(home)
    report_examples(invalid.kinds, invalid.examples)
    if incomplete:
        raise incomplete


def _annotate(
    inputs: list[str], *, home: Home, model: Path | None, mesh: Path, device: Device, processes: int = 1
) -> tuple[Outcome, IncompleteError | None]:
    """Annotate with progress on standard error; return the outcome, and the error if sources lack records."""
    from e2emern.tasks.resolve import check_choices, find_model

    check_choices(inputs, home=home, model=find_model(model, home=home), mesh=mesh)
    if device is Device.CUDA:
        from e2emern.tasks.models import pick_device

        pick_device(device.value)
    from e2emern.flows.annotate import IncompleteError, annotate_sources
    from e2emern.flows.cli.progress import TerminalProgress

    with TerminalProgress() as progress:
        try:
            outcome = annotate_sources(
                inputs,
                home.root,
                model=model,
                mesh=mesh,
                device=device.value,
                processes=processes,
                progress=progress,
            )
            return outcome, None
        except IncompleteError as error:
            return error.outcome, error
