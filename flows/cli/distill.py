"""Make one model from several: `silver` and `average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e2emern.defaults import MESH
from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Device, Entities, Models, OnDevice, PlainText, Seed
from e2emern.warehouse.wording import plural


@app.command(epilog="Example: e2emern silver --text text.xz --model seed-0 --model seed-1 --output silver.parquet")
def silver(
    text: PlainText,
    model: Models,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Parquet file of tagged sentences.")],
    pieces: Annotated[int, typer.Option(min=1, metavar="N", help="Word pieces to tag.")] = 700_000,
    names: Annotated[
        bool, typer.Option("--names", help="Take names of MeSH as mentions, in passages with rare ones.")
    ] = False,
    mesh: Entities = MESH,
    seed: Seed = 0,
    device: OnDevice = Device.AUTO,
) -> None:
    """Tag plain text with several models, for another model to learn from with `train --silver`.

    Samples passages that are rich in MeSH names, and stores for each word the mean of the models' tag probabilities.
    If interrupted, run it again: it resumes.
    """
    from e2emern.tasks.devices import pick_device
    from e2emern.tasks.models import hide_progress_bars
    from e2emern.tasks.training.distill import make_silver
    from e2emern.tasks.training.train import one_line

    hide_progress_bars()
    with one_line():
        tagged = make_silver(
            text,
            teachers=model,
            mesh=mesh,
            output=output,
            pieces=pieces,
            names=names,
            seed=seed,
            device=pick_device(device.value),
            log=say,
        )
    counts = f"{plural(tagged.sentences, 'sentence')}, {plural(tagged.pieces, 'word piece')}"
    print(f"{output}: {counts}, of {plural(tagged.passages, 'passage')}")


@app.command(epilog="Example: e2emern average --model seed-0 --model seed-1 --model seed-2 --output mean")
def average(
    model: Models,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the mean.")],
    share: Annotated[
        list[float] | None,
        typer.Option(help="Share of each --model, in the same order; they sum to 1. Equal by default."),
    ] = None,
    resolver_of: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="A model to take the fitted resolver from.")
    ] = None,
) -> None:
    """Write the mean of the weights of several models, as the start of a training.

    All must be trained from the same encoder, like the seeds of a recipe. Negative shares allow task arithmetic: with
    shares 1, 0.5 and -0.5, the first model gets half of what the second one learned since the third one, from which its
    training started.
    """
    from e2emern.model.training.average import average as run
    from e2emern.tasks.models import hide_progress_bars
    from e2emern.tasks.resolve import check_model
    from e2emern.tasks.training.finalize import read_resolver
    from e2emern.tasks.training.train import one_line

    hide_progress_bars()
    for folder in model:
        check_model(folder)
    with one_line():
        fitted = read_resolver(resolver_of) if resolver_of else None
        run(model, output, shares=share or [], fitted=fitted)
    print(output)
