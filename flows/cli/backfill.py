"""Annotate a home again with another model: `backfill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Device, HomeFolder, OnDevice
from e2emern.warehouse.wording import plural


@app.command(epilog="Example: e2emern backfill --home home --model home/models/new --publish")
def backfill(
    home: HomeFolder,
    model: Annotated[Path, typer.Option(metavar="MODEL", help="Model folder, or a model version in the home.")],
    mesh: Annotated[
        Path | None,
        typer.Option(
            metavar="MESH", help="Entities table, or a MeSH version in the home.", show_default="the snapshot's"
        ),
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the result if every source is finished.")] = False,
    device: OnDevice = Device.AUTO,
) -> None:
    """Annotate the documents of a home again with another model; no dump file is needed.

    Finished sources are skipped: run the same command again to continue after an interruption. The current snapshot
    shows the previous model until the result is published.
    """
    from e2emern.flows.backfill import backfill as run
    from e2emern.flows.cli.progress import TerminalProgress
    from e2emern.tasks.errors import ProblemsError

    with TerminalProgress() as progress:
        outcome = run(
            home.root,
            model=model,
            mesh=mesh,
            device=device.value,
            publishing=publish,
            progress=progress,
        )
    versions = outcome.versions
    print(
        f"Model {versions.model}, MeSH {versions.mesh}: {plural(outcome.documents, 'document')} annotated "
        f"({outcome.carried:,} reused) with {plural(outcome.mentions, 'mention')}, {outcome.before:,} done "
        f"before; {outcome.sources - outcome.waiting:,} of {plural(outcome.sources, 'source')} completely done"
    )
    if snapshot := outcome.snapshot:
        mentions, concepts = plural(snapshot.mentions, "mention"), plural(snapshot.concepts, "concept")
        print(f"Snapshot {snapshot.number} of {home}: {mentions} of {concepts}")
    elif not outcome.waiting:
        say("not shown yet; show it with the same command and --publish")
    if outcome.failed:
        raise ProblemsError(f"{name}: {reason}" for name, reason in outcome.failed.items())
