"""Manage the models of a home: `models list`, `show`, `add`, `judge`, `retrain`, `promote`, `rollback`; and `drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.defaults import MESH, MODEL
from e2emern.flows.cli.application import app, group, say
from e2emern.flows.cli.options import Data, Device, HomeFolder, Mesh, OnDevice, Seen, Version, Why
from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import NoSnapshotError, WarehouseError
from e2emern.warehouse.wording import plural

if TYPE_CHECKING:
    from e2emern.warehouse.registry.evaluations import Judged

models_app = group("models", says="List, add, judge, retrain, promote and roll back the models of a home.")


@models_app.command(
    "list", short_help="List the models and changes of champion", epilog="Example: e2emern models list --home home"
)
def list_all(home: HomeFolder) -> None:
    """List the models of a home with the verdict of the gate on each, and every change of the champion."""
    from e2emern.warehouse.registry.evaluations import evaluations
    from e2emern.warehouse.registry.models import champion, changes, models

    home.check()
    leading, judged = champion(home), {one.challenger: one for one in evaluations(home)}
    for one in models(home):
        state = "champion" if one.version == leading else _state(judged.get(one.version))
        print(f"{one.version} {state:13} added {_minute(one.added)} by {one.by}")
    if leading is None:
        print("the bundled model is the champion")
    for change in changes(home):
        did = "went back" if change.rollback else "promoted"
        why = f": {change.why}" if change.why else f", which passed {change.evaluation}" if change.evaluation else ""
        change_made = f"{did} from {_called(change.left)} to {_called(change.champion)}"
        print(f"{_minute(change.when)} {change.by} {change_made}{why}")


@models_app.command(
    short_help="Show the files and scores of a model", epilog="Example: e2emern models show 7f16417c594a --home home"
)
def show(version: Version, home: HomeFolder) -> None:
    """Show a model: its files, and its last evaluation, or its card if it was never evaluated."""
    from e2emern.warehouse.registry.evaluations import evaluations, read_report
    from e2emern.warehouse.registry.models import get_model

    model = get_model(home, version)
    judged = [one for one in evaluations(home) if one.challenger == version]
    card = model.folder / "README.md"
    print(f"{model.folder}, added {_minute(model.added)} by {model.by}")
    for name, size in model.files.items():
        print(f"  {name} {size:,} bytes")
    if judged:
        print(f"\n{read_report(home, judged[-1].evaluation)}", end="")
    elif card.exists():
        print(f"\n{card.read_text(encoding='utf-8')}", end="")


@models_app.command(short_help="Copy a model into a home", epilog="Example: e2emern models add my-model --home home")
def add(
    home: HomeFolder,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[DIR]", help="Model folder, as `e2emern train` writes it.", show_default="the bundled model"
        ),
    ] = MODEL,
) -> None:
    """Copy a model into the home; its version is computed from its content."""
    from e2emern.tasks.models import load_whole
    from e2emern.warehouse.registry.models import add_model

    *_, version = load_whole(folder, device="cpu")
    print(add_model(home, folder, version=version).version)


@models_app.command(
    short_help="Train a challenger, promote it if better",
    epilog="Example: e2emern models retrain --data corpora/ --home home",
)
def retrain(
    home: HomeFolder,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file, or a bundled recipe.", show_default="continue from the champion"),
    ] = None,
    data: Data = None,
    corrections: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of corrected PubTator files.", show_default="corrections of the home"),
    ] = None,
    encoder: Annotated[
        str, typer.Option(metavar="DIR|NAME", help="Starting point: champion, recipe (the file's), or an encoder.")
    ] = "champion",
    gold: Annotated[
        list[str] | None,
        typer.Option(metavar="GOLD", help="Gold to compare on.", show_default="the reserved documents"),
    ] = None,
    mesh: Mesh = MESH,
    device: OnDevice = Device.AUTO,
    max_hours: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="HOURS", help="Train only the epochs that fit.", show_default="all"),
    ] = None,
) -> None:
    """Train a challenger, compare it with the champion, and promote it if it passes the gate.

    If interrupted, run it again: it resumes. Without new data it trains nothing, but writes documents that are worth
    correcting into the folder to-correct of the home. Exit code 0 means that it finished, whether or not the challenger
    was promoted.
    """
    from e2emern.flows.retrain import retrain_model
    from e2emern.tasks.models import hide_progress_bars

    hide_progress_bars()
    done = retrain_model(
        home,
        config=config,
        data=data,
        corrections=corrections,
        encoder=encoder,
        gold=gold,
        mesh=mesh,
        device=device.value,
        max_hours=max_hours,
        log=say,
    )
    print(done.summary)


@models_app.command(
    short_help="Compare a model with the champion",
    epilog="Example: e2emern models judge 7f16417c594a --gold dev.PubTator --seen train.PubTator --home home",
)
def judge(
    version: Version,
    home: HomeFolder,
    gold: Annotated[list[str], typer.Option(metavar="GOLD", help="FILE or CORPUS/SPLIT=FILE; may be repeated.")],
    seen: Seen = None,
    mesh: Mesh = MESH,
    device: OnDevice = Device.AUTO,
) -> None:
    """Compare a model with the champion on gold files, and store the verdict of the gate in the home.

    Nothing is promoted. Exit code 1 means that the gate refuses it.
    """
    from e2emern.flows.cli.progress import TerminalProgress
    from e2emern.flows.evaluate import judge as run
    from e2emern.warehouse.registry.evaluations import read_report

    with TerminalProgress() as progress:
        judged, said = run(
            home, gold=gold, seen=seen or [], model=version, mesh=mesh, device=device.value, progress=progress
        )
    print(read_report(home, judged.evaluation), end="")
    say(said)
    if judged.passed is False:
        raise typer.Exit(1)


@models_app.command(
    short_help="Make a model the champion", epilog="Example: e2emern models promote 7f16417c594a --home home"
)
def promote(
    version: Version,
    home: HomeFolder,
    accept: Annotated[
        str | None,
        typer.Option(metavar="WHY", help="Promote without the gate; recorded, with your login name."),
    ] = None,
) -> None:
    """Make a model the champion; it must have passed the gate against the current champion."""
    from e2emern.tasks.resolve import find_model
    from e2emern.warehouse.registry.evaluations import evaluations
    from e2emern.warehouse.registry.models import champion, get_model
    from e2emern.warehouse.registry.models import promote as promote_model

    get_model(home, version)
    leading, evaluation = champion(home), None
    if accept is None:
        from e2emern.model.version import model_version

        against = model_version(find_model(None, home=home))
        judged = [one for one in evaluations(home) if (one.challenger, one.champion) == (version, against)]
        if not judged:
            raise InputError(
                f"model {version} was not compared with the champion {against}; compare them with `e2emern models "
                "judge`, or promote it anyway with --accept WHY"
            )
        if not judged[-1].passed:
            raise InputError(f"model {version} was refused: {'; '.join(judged[-1].reasons)}; or promote --accept WHY")
        evaluation = judged[-1].evaluation
    change = promote_model(home, version, over=leading, why=accept, evaluation=evaluation)
    print(f"{_called(change.champion)} is the champion in place of {_called(change.left)}")


@models_app.command(
    short_help="Return to the previous champion",
    epilog="Example: e2emern models rollback --home home --why 'it misses short forms'",
)
def rollback(home: HomeFolder, why: Why = None) -> None:
    """Return to the previous champion; repeat to go further back."""
    from e2emern.warehouse.registry.models import roll_back_model

    if not home.root.is_dir():
        raise WarehouseError("does not exist", path=home.root)
    change = roll_back_model(home, why=why)
    print(f"{_called(change.champion)} is the champion in place of {_called(change.left)}")


@app.command(epilog="Example: e2emern drift --home home")
def drift(home: HomeFolder) -> None:
    """Compare the last night of a home with earlier nights. Exit code 1 means that a figure has drifted."""
    from e2emern.tasks.evaluation.drift import read_drift

    found = read_drift(home)
    if found is None:
        raise NoSnapshotError(home.root)
    if not found.figures:
        print(f"{found.date}: {plural(found.nights, 'night')} before it, too few to compare")
    for one in found.figures:
        numbers = "" if one.usual is None or one.tonight is None else f"usually {one.usual:,.3f}, {one.tonight:,.3f}, "
        print(f"{one.name}: {numbers}off by {one.off:.3f}, limit {one.limit:.3f}{', drifted' * one.drifted}")
    if found.drifted:
        raise typer.Exit(1)


def _state(judged: Judged | None) -> str:
    if judged is None or judged.passed is None:
        return "not compared"
    return "passed" if judged.passed else "refused"


def _called(version: str | None) -> str:
    return "the bundled model" if version is None else version


def _minute(when: str) -> str:
    return when[:16].replace("T", " ")
