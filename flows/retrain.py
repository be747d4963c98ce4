"""Retraining: a challenger is trained on gold and on what users corrected, and replaces the champion if it is no worse.

`retrain` is the Prefect flow; `retrain_model` is the same without Prefect. Started again after a kill it goes on where
it was; with nothing new to train on it does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger

from defaults import MESH, SAMPLE
from flows.annotate import open_home
from flows.artifacts import artifact_key
from flows.settings import Device, read_settings
from tasks.evaluation.promotion import assess, verdict_lines
from tasks.evaluation.promotion_gate import Margins
from tasks.models import keep_vocabulary
from tasks.resolve import find_mesh, find_model, read_mesh_version, snapshot_mesh
from tasks.training.retrain import CHAMPION, Plan, already_trained, make_challenger, plan_retraining
from warehouse.errors import OvertakenError, PublishRefusedError
from warehouse.files import atomic_write
from warehouse.layout import Home
from warehouse.registry.evaluations import Judged, headline, read_report
from warehouse.registry.models import Change, add_model, champion, changes, promote
from warehouse.snapshots.publish import current_snapshot, publish

PROMOTED = "e2emern.promoted"
"""The event of a promotion; its resource says as `e2emern.backfill` (yes or no) whether a backfill is wanted."""

Step = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Retrained:
    """What came of a retraining: what the gate made of the challenger, and whether it is the champion now."""

    said: str
    judged: Judged | None = None
    promoted: Change | None = None


@flow(name="retrain", flow_run_name="retrain", persist_result=False)
def retrain(
    home: Path | None = None,
    config: Path = Path("ours"),
    data: Path | None = None,
    corrections: Path | None = None,
    encoder: str = CHAMPION,
    gold: list[str] | None = None,
    mesh: str | None = None,
    device: Device | None = None,
    margins: Margins | None = None,
    sample: Path = SAMPLE,
    backfill: bool = False,
) -> None:
    """Train a challenger, compare it with the champion, and promote it if it passes the gate.

    Args:
        home: folder of the tables; without it that of the settings.
        config: TOML file of a training, or the name of a shipped recipe.
        data: folder of the gold files that it names.
        corrections: folder of corrected PubTator files; without it `corrections` of the home, where there is one.
        encoder: where to begin, champion, recipe (as the TOML file says), or a folder or name of an encoder.
        gold: gold files to compare models on, instead of the recipe's dev splits.
        mesh: version of MeSH in the home, or an entities table; if the settings name none, that of the tables.
        device: where to train; auto is cuda where there is one.
        margins: by how much the challenger may be worse.
        sample: a file of real text that has to be annotated.
        backfill: whether a promotion asks for all sources to be annotated anew; one that the tables do not follow yet
            asks again.
    """
    settings = read_settings(home=home, mesh=mesh, device=device)
    place, log = Home(settings.home), get_run_logger()
    done = retrain_model(
        place,
        config=config,
        data=data,
        corrections=corrections,
        encoder=encoder,
        gold=gold or [],
        mesh=Path(settings.mesh or snapshot_mesh(place) or MESH),
        device=settings.device,
        margins=margins,
        sample=sample,
        tell=log.info,
        step=lambda one: task(name=one.__name__.replace("_", " "), cache_policy=NO_CACHE, persist_result=False)(one),
    )
    log.info(done.said)
    if done.judged:
        show_evaluation(place, done.judged)
    if promoted := done.promoted or (pending_promotion(place) if backfill else None):
        resource = {"prefect.resource.id": f"e2emern.home.{place.root.name}", "e2emern.home": str(place.root)}
        emit_event(
            PROMOTED,
            resource=resource | {"e2emern.backfill": "yes" if backfill else "no"},
            payload={"champion": promoted.champion, "left": promoted.left},
        )


def retrain_model(
    home: Home,
    *,
    config: Path = Path("ours"),
    data: Path | None = None,
    corrections: Path | None = None,
    encoder: str = CHAMPION,
    gold: list[str] | None = None,
    mesh: Path = MESH,
    device: str = "auto",
    margins: Margins | None = None,
    sample: Path = SAMPLE,
    tell: Callable[[str], None] = print,
    step: Step = lambda one: one,
) -> Retrained:
    """Do what the flow does, and return what came of it; `step` makes a task of each step.

    Raises InputError where the recipe, the data or a model cannot be used, and WarehouseError where somebody else
    changed the champion meanwhile.
    """
    open_home(home)
    table = find_mesh(mesh, home=home)
    keep_vocabulary(home, table, mesh_version=read_mesh_version(table))
    standing, folder = champion(home), find_model(None, home=home)
    dropped = home.root / "corrections"
    plan: Plan = step(plan_retraining)(
        home,
        config=config,
        data=data,
        corrections=corrections or (dropped if dropped.is_dir() else None),
        encoder=encoder,
        gold=gold or [],
        mesh=table,
        log=tell,
    )
    if already_trained(plan, folder):
        return Retrained("the champion was trained with this recipe on these documents: nothing to do")
    made: Path = step(make_challenger)(plan, device=device, log=tell)

    def compare_with_champion() -> Judged:  # reads the documents itself: Prefect would look into each of them
        return assess(
            made,
            champion=folder,
            home=home,
            gold=plan.read(plan.judged),
            seen=plan.read(plan.recipe["train"]),
            mesh=table,
            margins=margins,
            sample=sample,
            device=device,
            data=plan.data,
        )

    judged: Judged = step(compare_with_champion)()
    _describe(home, made, judged)
    add_model(home, made, version=judged.challenger)
    promoted, said = _promote(home, judged, over=standing)
    return Retrained(f"{said}{publish_ledger(home)}", judged, promoted)


def show_evaluation(home: Home, judged: Judged) -> None:
    """Show the page of an evaluation, the gate's verdict first, as an artifact of the run."""
    create_markdown_artifact(
        read_report(home, judged.evaluation),
        key=artifact_key("evaluation", home.root.name),
        description=f"model {judged.challenger} against {judged.champion or 'nothing'}",
    )


def pending_promotion(home: Home) -> Change | None:
    """Return the promotion through the gate that the tables do not follow, as where a run died before it told of it.

    None where they do, or the last change of the champion is a rollback or somebody's own decision.
    """
    last, current = next(reversed(changes(home)), None), current_snapshot(home)
    if last is None or last.evaluation is None or current is None or current.model_version == last.champion:
        return None
    return last


def publish_ledger(home: Home) -> str:
    """Publish a snapshot that shows the models and evaluations; return what is to be told of it, mostly nothing."""
    while current := current_snapshot(home):
        try:
            publish(home, model_version=current.model_version, mesh_version=current.mesh_version, over=current)
            break
        except OvertakenError:
            continue
        except PublishRefusedError as error:
            return f" (the tables show it when a snapshot is published again: {error})"
    return ""


def _promote(home: Home, judged: Judged, *, over: str | None) -> tuple[Change | None, str]:
    """Promote a challenger that passed the gate, but never twice by one evaluation: somebody rolled that back."""
    if judged.passed is None:
        return None, f"model {judged.challenger} is the champion itself: nothing to compare"
    if not judged.passed:
        return None, f"model {judged.challenger} is refused: {'; '.join(judged.reasons)}"
    if judged.evaluation in {change.evaluation for change in changes(home)}:
        return None, (
            f"model {judged.challenger} was promoted by evaluation {judged.evaluation} before, and rolled back; "
            f"promote it again with: e2emern models promote {judged.challenger}"
        )
    change = promote(home, judged.challenger, over=over, evaluation=judged.evaluation)
    return change, f"model {judged.challenger} passed the gate and is the champion in place of {judged.champion}"


def _describe(home: Home, folder: Path, judged: Judged) -> None:
    """Write the card and the figures of a model into its folder."""
    told = {
        "model_version": judged.challenger,
        "mesh_version": judged.mesh_version,
        "evaluation": judged.evaluation,
        "rows": headline(home, judged),
    }
    lines = [*verdict_lines(judged), "", "Trained on:", "", "```json", json.dumps(judged.data, indent=1), "```", ""]
    for name, text in (("metrics.json", json.dumps(told, indent=1) + "\n"), ("README.md", "\n".join(lines))):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
