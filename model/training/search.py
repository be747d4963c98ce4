"""Searches for a better recipe with Optuna (Akiba et al. 2019): trials are trainings, scored by F1 of spans on dev.

The study is `search.db` in the output folder, and each trial is a folder in `trials`, so that a killed search can be
resumed, even in the middle of a trial. A trial below the median of the others is stopped early.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from e2emern.model.cli import plural
from e2emern.model.training.checkpoint import remove_checkpoint
from e2emern.model.training.recipe import MissingExtraError, Recipe, RecipeError, convert, near
from e2emern.model.training.train import Trained

if TYPE_CHECKING:
    import optuna

AfterEpoch = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """A key whose value is one of several."""

    values: tuple[Any, ...]

    def draw(self, trial: optuna.Trial, key: str) -> Any:
        return self.values[trial.suggest_categorical(key, range(len(self.values)))]


@dataclass(frozen=True, slots=True)
class Range:
    """A key with a number from `low` to `high`; an integer if both are; uniform in the logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def draw(self, trial: optuna.Trial, key: str) -> Any:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


@dataclass(frozen=True, slots=True)
class Found:
    """The best trial: its number, F1 on dev, the drawn values and its folder."""

    number: int
    f1: float
    drawn: Mapping[str, Any]
    folder: Path


def read_space(table: Mapping[str, Any]) -> dict[str, Choice | Range]:
    """Read `[search]`: `key = [values]`, or `key = {low = 1e-5, high = 1e-3, log = true}`.

    Raises:
        RecipeError: the table is empty, a key is unknown, or a value is invalid.
    """
    types = get_type_hints(Recipe)
    if not table:
        raise RecipeError("no [search] table, which names the keys to vary")
    space: dict[str, Choice | Range] = {}
    for key, given in table.items():
        if key not in types:
            raise RecipeError(f"search: unknown key {key}{near(key, list(types))}")
        if isinstance(given, list) and given:
            space[key] = Choice(tuple(convert(f"search.{key}", value, types[key]) for value in given))
        elif isinstance(given, dict) and {"low", "high"} <= set(given) <= {"low", "high", "log"}:
            ends = [convert(f"search.{key}.{end}", given[end], types[key]) for end in ("low", "high")]
            log = convert(f"search.{key}.log", given.get("log", False), bool)
            if types[key] not in (int, float) or not ends[0] <= ends[1] or (log and ends[0] <= 0):
                raise RecipeError(f"search.{key} is {given!r}, expected numbers with low <= high, above 0 with log")
            space[key] = Range(ends[0], ends[1], log)
        else:
            raise RecipeError(f"search.{key} is {given!r}, expected a list of values, or {{low = ..., high = ...}}")
    return space


def search(
    recipe: Recipe,
    space: Mapping[str, Choice | Range],
    *,
    trials: int,
    output: Path,
    data: Mapping[str, Any],
    train_trial: Callable[[Recipe, Path, AfterEpoch], Trained],
    log: Callable[[str], None] = print,
) -> Found:
    """Train until `trials` trials have ended, including those of earlier runs, and return the best.

    Only the best trial keeps its weights; all keep their curves.

    Args:
        recipe: the values that are not drawn.
        data: digests of the trials' data (`train.data_digests`).
        train_trial: trains a recipe in a folder, and calls its last argument after each epoch.

    Raises:
        MissingExtraError: optuna or the encoder is not installed.
        RecipeError: the recipe has no dev, the study in `output` is of another recipe, space or data, or every trial
            failed.
    """
    optuna = _optuna()
    if not recipe.dev:
        raise RecipeError("a search needs dev: name the splits that score the trials")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    output.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="e2emern",
        storage=f"sqlite:///{output / 'search.db'}",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=recipe.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    _check_same(study, [asdict(recipe), {key: asdict(way) for key, way in space.items()}, data], output)
    _requeue_killed(study)
    while len(_ended(study)) < trials:
        _run_trial(study, recipe, space, output=output, train_trial=train_trial, log=log)
        _drop_weights(study, output)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise RecipeError(f"every trial failed; the last one: {_ended(study)[-1].user_attrs.get('failed')}")
    best = study.best_trial
    drawn = {key: way.draw(optuna.trial.FixedTrial(best.params), key) for key, way in space.items()}
    found = Found(best.number, float(study.best_value), drawn, output / "trials" / best.user_attrs["folder"])
    ended = plural(len(_ended(study)), "trial")
    log(f"best of {ended}: F1 {100 * found.f1:.2f} with {_as_options(drawn)}, in {found.folder}")
    return found


def _run_trial(
    study: optuna.Study,
    recipe: Recipe,
    space: Mapping[str, Choice | Range],
    *,
    output: Path,
    train_trial: Callable[[Recipe, Path, AfterEpoch], Trained],
    log: Callable[[str], None],
) -> None:
    """Train one trial and record its outcome; a trial without an installed extra is left to the next run."""
    optuna = _optuna()
    trial = study.ask()
    folder = output / "trials" / str(trial.user_attrs.get("folder", trial.number))
    trial.set_user_attr("folder", folder.name)

    def after_epoch(epoch: int, f1: float) -> None:
        trial.report(f1, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    state, f1 = optuna.trial.TrialState.COMPLETE, None
    try:
        drawn = {key: way.draw(trial, key) for key, way in space.items()}
        log(f"trial {trial.number}: {_as_options(drawn)}")
        f1 = max(train_trial(replace(recipe, **drawn), folder, after_epoch).dev_f1)
        log(f"trial {trial.number}: F1 {100 * f1:.2f} on dev")
    except optuna.TrialPruned:
        log(f"trial {trial.number}: ended early, below the median of the others")
        state = optuna.trial.TrialState.PRUNED
    except MissingExtraError:
        raise
    except RecipeError as error:
        log(f"trial {trial.number}: {error}")
        trial.set_user_attr("failed", str(error))
        state = optuna.trial.TrialState.FAIL
    study.tell(trial, f1, state)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna, which --trials needs,") from error
    return optuna


def _check_same(study: optuna.Study, about: Sequence[Any], output: Path) -> None:
    """Record recipe, space and data in a new study; raise RecipeError if an existing one has others."""
    wanted = json.dumps(about)
    if study.user_attrs.setdefault("about", wanted) != wanted:
        raise RecipeError(
            f"{output} holds a search of another recipe, space or data; choose another --output, or delete it"
        )
    study.set_user_attr("about", wanted)


def _requeue_killed(study: optuna.Study) -> None:
    """Queue again the trials that a killed run left unfinished, in the same folders, so that they are resumed."""
    states = _optuna().trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"folder": trial.user_attrs.get("folder", str(trial.number))})


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that have ended, except those that were killed."""
    states = _optuna().trial.TrialState
    ended = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.FAIL))
    return [trial for trial in ended if trial.state != states.FAIL or "failed" in trial.user_attrs]


def _drop_weights(study: optuna.Study, output: Path) -> None:
    states = _optuna().trial.TrialState
    complete = study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    best = study.best_trial.number if complete else None
    for trial in _ended(study):
        if trial.number != best:
            folder = output / "trials" / trial.user_attrs["folder"]
            remove_checkpoint(folder)
            (folder / "model.safetensors").unlink(missing_ok=True)


def _as_options(drawn: Mapping[str, Any]) -> str:
    """Return drawn values as options of `e2emern train`."""
    return " ".join(f"--set {key}={json.dumps(value)}" for key, value in drawn.items())
