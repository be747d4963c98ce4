"""The `retrain` deployment: train a challenger on gold and user corrections, and promote it if it passes the gate.

Started again after a kill, it resumes; without new training data it does nothing. `retrain_model` is the same without
Prefect.

Deploy it with `e2emern deploy`, and run it with `prefect deployment run retrain/retrain --param data=/data/gold`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from e2emern.defaults import MESH, RECIPES, SAMPLE
from e2emern.flows.annotate import begin_in
from e2emern.flows.artifacts import show_evaluation
from e2emern.flows.events import PROMOTED, REFUSED, emit
from e2emern.flows.live_artifacts import LearningCurve
from e2emern.flows.retries import is_transient
from e2emern.flows.run_names import named
from e2emern.flows.settings import Device, read_settings
from e2emern.model.training.train import Watch
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.tasks.evaluation.corrected import Effect, describe
from e2emern.tasks.evaluation.promotion import EFFECT, assess, publish_ledger, verdict_lines
from e2emern.tasks.evaluation.promotion_gate import Margins, too_few
from e2emern.tasks.models import keep_vocabulary
from e2emern.tasks.resolve import find_mesh, find_model, find_recipe, read_mesh_version, snapshot_mesh
from e2emern.tasks.training.cleaning import KEEP_DAYS, clean
from e2emern.tasks.training.retrain import (
    CHAMPION,
    Cut,
    Plan,
    already_trained,
    cut_of,
    ended,
    make_challenger,
    note_ended,
    plan_retraining,
)
from e2emern.tasks.training.to_correct import choose_to_correct
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.corrections import note_consumed, pending_corrections
from e2emern.warehouse.registry.evaluations import Judged, headline, read_judged
from e2emern.warehouse.registry.models import Change, add_model, champion, changes, promote
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.wording import plural

NOTHING = "the champion was already trained with this recipe on these documents: nothing to do"


@dataclass(frozen=True, slots=True)
class Retrained:
    """The result of a retraining.

    Attributes:
        summary: one line.
        judged: the verdict of the gate.
        promoted: the promotion if there was one.
        to_correct: the documents worth correcting, if there was nothing to learn from.
    """

    summary: str
    judged: Judged | None = None
    promoted: Change | None = None
    to_correct: tuple[str, ...] = ()


def compare_with_champion(
    plan: Plan,
    challenger: Path,
    *,
    champion: Path,
    home: Home,
    mesh: Path,
    margins: Margins | None,
    sample: Path,
    device: str,
) -> Judged:
    """Evaluate a challenger and the champion on the documents of a plan, and return the verdict of the gate."""
    return assess(
        challenger,
        champion=champion,
        home=home,
        gold=plan.read(plan.judged),
        seen=plan.read(plan.recipe["train"]),
        corrected=plan.read_corrected(),
        mesh=mesh,
        margins=margins,
        sample=sample,
        device=device,
        data=plan.data,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The steps of a retraining: plain functions, or the tasks of the flow. Each resumes after a stop."""

    plan: Callable[..., Plan] = plan_retraining
    train: Callable[..., Path] = make_challenger
    compare: Callable[..., Judged] = compare_with_champion


_task = partial(
    task,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=60,
    retry_condition_fn=is_transient,
)
TASKS = Steps(
    plan=_task(plan_retraining, name="plan retraining"),
    train=_task(make_challenger, name="make challenger"),
    compare=_task(compare_with_champion, name="compare with champion"),
)


@flow(name="retrain", flow_run_name=named("retrain"), persist_result=False)
def retrain(
    home: Path | None = None,
    config: Path | None = None,
    data: Path | None = None,
    corrections: Path | None = None,
    encoder: str = CHAMPION,
    gold: list[str] | None = None,
    mesh: str | None = None,
    device: Device | None = None,
    margins: Margins | None = None,
    sample: Path = SAMPLE,
    max_hours: float | None = None,
    backfill: bool = False,
) -> None:
    """Train a challenger, compare it with the champion, and promote it if it passes the gate.

    Args:
        home: folder of the tables; by default that of the settings.
        config: TOML file of a training, or a shipped recipe; by default that of the settings, or `continue`.
        data: folder of the gold files that it names; by default that of the settings.
        corrections: folder of corrected PubTator files; by default `corrections` of the home if that exists.
        encoder: starting point: champion, recipe (the encoder of the TOML file), or a folder or name of an encoder.
        gold: gold files to compare models on, instead of reserved gold; by default those of the settings.
        mesh: version of MeSH in the home, or an entities table; if the settings name none, that of the tables.
        device: device for the training; auto is cuda if available.
        margins: how much worse than the champion the challenger may be.
        sample: a file of real text that the challenger must be able to annotate.
        max_hours: time budget of the training, which ends after the last epoch that fits; by default that of the
            settings.
        backfill: request a backfill after a promotion. Each run repeats the request until the tables use the new model.
    """
    recipe = config and str(config)
    settings = read_settings(
        home=home, recipe=recipe, data=data, gold=gold or None, mesh=mesh, device=device, max_hours=max_hours
    )
    place, log = open_home(settings.home), get_run_logger()
    done = retrain_model(
        place,
        config=Path(settings.recipe) if settings.recipe else None,
        data=settings.data,
        corrections=corrections,
        encoder=encoder,
        gold=settings.gold,
        mesh=Path(settings.mesh or snapshot_mesh(place) or MESH),
        device=settings.device,
        margins=margins,
        keep_days=settings.retention.models_days,
        sample=sample,
        max_hours=settings.max_hours,
        log=log.info,
        watching=partial(LearningCurve, place),
        steps=TASKS,
    )
    log.info(done.summary)
    if done.judged:
        show_evaluation(place, done.judged, explorer=settings.explorer)
    _emit(place, done, backfill=backfill)


def _emit(home: Home, done: Retrained, *, backfill: bool) -> None:
    """Emit the events of a retraining: refused, or promoted."""
    if done.judged and done.judged.passed is False:
        reason = "; ".join(done.judged.reasons)
        emit(home, REFUSED, {"what": "model", "model": done.judged.challenger, "reason": reason})
    if promoted := done.promoted or (pending_promotion(home) if backfill else None):
        payload: dict[str, object] = {"champion": promoted.champion, "left": promoted.left}
        emit(home, PROMOTED, payload, **{"e2emern.backfill": "yes" if backfill else "no"})


def retrain_model(
    home: Home,
    *,
    config: Path | None = None,
    data: Path | None = None,
    corrections: Path | None = None,
    encoder: str = CHAMPION,
    gold: list[str] | None = None,
    mesh: Path = MESH,
    device: str = "auto",
    margins: Margins | None = None,
    keep_days: float = KEEP_DAYS,
    sample: Path = SAMPLE,
    max_hours: float | None = None,
    log: Callable[[str], None] = print,
    watching: Callable[[Path], Watch] = lambda model: lambda progress: None,
    steps: Steps = Steps(),
) -> Retrained:
    """Do the same as the flow, and return the result; refused challengers are deleted after `keep_days`.

    `watching` returns the observer of the training in a model folder.
    Corrections are pending until a retraining that used them ends: promoted, refused, or with nothing to learn.

    Raises InputError if the recipe, the data or a model cannot be used, and WarehouseError if the champion changed
    meanwhile.
    """
    begin_in(home)
    table = find_mesh(mesh, home=home)
    keep_vocabulary(home, table, mesh_version=read_mesh_version(table))
    leading, folder = champion(home), find_model(None, home=home)
    recipe = config or Path("continue" if encoder == CHAMPION else "ours")
    if data is None and find_recipe(recipe).parent == RECIPES:
        if pending_corrections(home, corrections):
            raise InputError(
                "no gold to train on: name its folder (setting data, or --data); corrections stay pending until then"
            )
        return _without_labels(home, "nothing to learn: no corrections are pending, and no gold is named", log=log)
    plan = steps.plan(
        home,
        config=recipe,
        data=data,
        corrections=corrections or (home.corrections if home.corrections.is_dir() else None),
        encoder=encoder,
        gold=gold or [],
        mesh=table,
        log=log,
    )
    if already_trained(plan, folder) or (encoder == CHAMPION and not plan.fresh):
        note_consumed(home, plan.corrections)
        return _without_labels(home, NOTHING, log=log)
    if plan.judging < (least := (margins or Margins()).least_documents):
        return _without_labels(home, f"not trained: {too_few(plan.judging, least)}", log=log)
    judged, cut = _ended(home, plan, champion=folder, max_hours=max_hours), None
    if judged is None:
        challenger = steps.train(plan, device=device, max_hours=max_hours, watch=watching(plan.model), log=log)
        given = {"champion": folder, "home": home, "mesh": table, "margins": margins, "sample": sample}
        judged, cut = steps.compare(plan, challenger, device=device, **given), cut_of(challenger)
        _describe(home, challenger, judged)
        add_model(home, challenger, version=judged.challenger)
    return _conclude(home, plan, judged, cut, over=leading, keep_days=keep_days, log=log)


def _conclude(
    home: Home,
    plan: Plan,
    judged: Judged,
    cut: Cut | None,
    *,
    over: str | None,
    keep_days: float,
    log: Callable[[str], None],
) -> Retrained:
    """Promote the challenger if it passed, record the end of the retraining, and return its result."""
    promoted, summary = _promote(home, judged, over=over)
    summary += _describe_cut(plan, cut)
    note_ended(plan, judged, cut=cut)
    note_consumed(home, plan.corrections)
    if effect := judged.data.get(EFFECT):
        log(describe(Effect(**effect)))
    clean(home, days=keep_days, log=log)
    return Retrained(f"{summary}{publish_ledger(home)}", judged, promoted)


def _describe_cut(plan: Plan, cut: Cut | None) -> str:
    """Return a clause, after a semicolon, about how a budget cut the training short."""
    if cut is None:
        return ""
    epochs = f"{cut.epochs} of {plural(plan.recipe['epochs'], 'epoch')}"
    return f"; trained for {epochs}, as many as fit into max_hours {cut.max_hours:g}"


def _ended(home: Home, plan: Plan, *, champion: Path, max_hours: float | None) -> Judged | None:
    """Return the verdict on the same retraining if it has ended before, against the same champion."""
    evaluation = ended(plan, max_hours=max_hours)
    judged = read_judged(home, evaluation) if evaluation else None
    return judged if judged and judged.champion == model_version(champion) else None


def _without_labels(home: Home, summary: str, *, log: Callable[[str], None]) -> Retrained:
    """Choose documents worth correcting, since labels are missing, and return a result that names them."""
    chosen = choose_to_correct(home)
    for one in chosen:
        log(f"worth correcting: document {one.document_id}: {one.reason}")
    if chosen:
        number = plural(len(chosen), "document")
        summary += f"; {number} worth correcting in {home.to_correct}: once corrected, put them into {home.corrections}"
    return Retrained(summary, to_correct=tuple(one.document_id for one in chosen))


def pending_promotion(home: Home) -> Change | None:
    """Return the last promotion through the gate if the tables do not use its model yet.

    So a run that died between the promotion and its event does not lose the event. Return None if the tables use the
    champion, or if the last change of the champion is a rollback or a user's decision.
    """
    last, current = next(reversed(changes(home)), None), current_snapshot(home)
    if last is None or last.evaluation is None or current is None or current.model_version == last.champion:
        return None
    return last


def _promote(home: Home, judged: Judged, *, over: str | None) -> tuple[Change | None, str]:
    """Promote a challenger that passed the gate, but only once for each evaluation: a rollback of it is final."""
    if judged.passed is None:
        return None, f"model {judged.challenger} is the champion: nothing to compare"
    if not judged.passed:
        return None, f"model {judged.challenger} is refused: {'; '.join(judged.reasons)}"
    if judged.evaluation in {change.evaluation for change in changes(home)}:
        return None, (
            f"model {judged.challenger} was already promoted by evaluation {judged.evaluation} and rolled back; "
            f"promote it again with: e2emern models promote {judged.challenger}"
        )
    change = promote(home, judged.challenger, over=over, evaluation=judged.evaluation)
    return change, f"model {judged.challenger} passed the gate and is the champion in place of {judged.champion}"


def _describe(home: Home, folder: Path, judged: Judged) -> None:
    """Write the card and the scores of a model into its folder."""
    metrics = {
        "model_version": judged.challenger,
        "mesh_version": judged.mesh_version,
        "evaluation": judged.evaluation,
        "rows": headline(home, judged),
    }
    lines = [*verdict_lines(judged), "", "Trained on:", "", "```json", json.dumps(judged.data, indent=1), "```", ""]
    for name, text in (("metrics.json", json.dumps(metrics, indent=1) + "\n"), ("README.md", "\n".join(lines))):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
