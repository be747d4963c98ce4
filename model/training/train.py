"""Trains the three levels together (section 3.3) as a TOML file describes.

    python -m e2emern.model.training.train --config FILE --output DIR

The random numbers of a step depend only on (seed, step), and a checkpoint holds weights, moments and the position in
the data, so that a resumed run ends with the same weights as an uninterrupted one. `e2emern train` does the same and
also reads gold files; here the file names a prepared corpus.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from e2emern.model.cli import fails_in_one_line, plural
from e2emern.model.errors import FileError
from e2emern.model.files import file_digest, write_text
from e2emern.model.pretrained import save_model
from e2emern.model.seen import write_seen
from e2emern.model.training.budget import MEASURED_AFTER_S, epochs_that_fit, in_hours, none_fits
from e2emern.model.training.checkpoint import read_progress, remove_checkpoint
from e2emern.model.training.recipe import Recipe, RecipeError, read_config
from e2emern.model.training.samples import Batch
from e2emern.model.training.trainer import LOSSES, Trainer, add_row, check_free, check_same, make_trainer
from e2emern.model.vocabulary import Vocabulary

REPORT_EVERY = 50  # steps
CUT = "cut"
"""Key of `recipe.json` if a budget has cut a training: its `max_hours`, and the `epochs` that were trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a training is, and the seconds that it still needs; its curves in the folder are complete up to here."""

    step: int
    steps: int
    epoch: int
    epochs: int
    seconds_left: float


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training: F1 of spans on dev after each epoch (empty without dev), and whether it is finished."""

    folder: Path
    dev_f1: tuple[float, ...]
    finished: bool

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 0) whose weights were kept; None without dev."""
        return self.dev_f1.index(max(self.dev_f1)) if self.dev_f1 else None


def train(
    recipe: Recipe,
    *,
    corpus: Path,
    silver: Path | None = None,
    mesh: Path,
    output: Path,
    folder: Path = Path(),
    device: str = "cpu",
    save_every: float = 300.0,
    stop_after: int | None = None,
    max_hours: float | None = None,
    after_epoch: Callable[[int, float], None] = lambda epoch, f1: None,
    watch: Watch = lambda progress: None,
    log: Callable[[str], None] = print,
) -> Trained:
    """Train as `recipe` describes and write a transformers folder to `output`; resume from `output/checkpoint`.

    The folder also gets the curves, `loss.jsonl` and `dev.jsonl`, `seen.json` (`model.seen`), and last `recipe.json`.

    Args:
        corpus: Parquet file of gold documents (`model.corpus`).
        silver: Parquet file of sentences that models have tagged (`model.training.distillation`).
        mesh: entities table.
        folder: base folder of a relative encoder.
        save_every: seconds between checkpoints.
        stop_after: steps of this run after which it saves a checkpoint and stops.
        max_hours: budget of time, of all runs together: only the epochs that fit are trained.
        after_epoch: called with every epoch that was scored on dev, including those of earlier runs, and its F1.
        watch: called after every report and every epoch.
        log: receives the log lines.

    Raises:
        RecipeError: the encoder or the data cannot be used, `output` holds another training, or a model of another
            origin, or no epoch fits into the budget.
    """
    output.mkdir(parents=True, exist_ok=True)
    vocabulary = read_vocabulary(mesh)
    data = data_digests(corpus=corpus, silver=silver, vocabulary=vocabulary)
    recipe, made_from = _on_this_host(recipe, device=device, data=data, output=output, log=log)
    if (output / "recipe.json").exists():
        return _finished(output, made_from, log=log)
    check_free(output)
    trainer = make_trainer(
        recipe,
        corpus=corpus,
        silver=silver,
        vocabulary=vocabulary,
        made_from=made_from,
        output=output,
        folder=folder,
        device=device,
        log=log,
    )
    trainer.resume()
    run = _Run(trainer, max_hours=max_hours, watch=watch, save_every=save_every, stop_after=stop_after)
    finished = run.take_steps(after_epoch)
    if finished:
        _finish(trainer, output, made_from, max_hours=max_hours)
    return Trained(output, tuple(trainer.state.dev_f1), finished=finished)


def _on_this_host(
    recipe: Recipe, *, device: str, data: dict[str, str | None], output: Path, log: Callable[[str], None]
) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe with the precision of this host, and what identifies the training.

    A training with precision `auto` that another host has begun keeps its identity, and continues in our precision.
    """
    here = recipe.on(device)
    made_from: dict[str, Any] = json.loads(json.dumps(asdict(here) | data))
    if recipe.precision == "auto" and (before := _precision_before(output)) not in (None, here.precision):
        log(f"begun on a host that trains in {before}, continued in {here.precision}")
        made_from["precision"] = before
    return here, made_from


def _precision_before(output: Path) -> str | None:
    """Return the precision in which a training of this folder was begun; None without one."""
    path = output / "recipe.json"
    found = json.loads(path.read_text()) if path.exists() else (read_progress(output) or {}).get("made_from", {})
    precision: str | None = found.get("precision")
    return precision


def _finish(trainer: Trainer, output: Path, made_from: dict[str, Any], *, max_hours: float | None) -> None:
    """Write the model, and last its recipe."""
    if trainer.best is not None:
        trainer.model.load_state_dict(trainer.best)
    save_model(trainer.model, trainer.tokenizer, output)
    write_seen(output, trainer.seen)
    epochs = trainer.state.epochs
    cut = {CUT: {"max_hours": max_hours, "epochs": epochs}} if epochs < trainer.recipe.epochs else {}
    write_text(output / "recipe.json", json.dumps(made_from | cut, indent=1) + "\n")
    remove_checkpoint(output)


def _finished(output: Path, made_from: dict[str, Any], *, log: Callable[[str], None]) -> Trained:
    """Return the result of an earlier run that finished. Raises RecipeError if it was another training."""
    check_same(json.loads((output / "recipe.json").read_text()), made_from, output)
    remove_checkpoint(output)
    log(f"{output} is already trained")
    return Trained(output, _read_dev(output), finished=True)


def read_vocabulary(mesh: Path) -> Vocabulary:
    """Read an entities table. Raises RecipeError if it cannot be read."""
    if not mesh.is_file():
        raise RecipeError(f"{mesh}: no such entities table")
    try:
        return Vocabulary.read(mesh)
    except FileError as error:
        raise RecipeError(f"{mesh}: cannot be read as an entities table: {error.reason}") from error


def data_digests(*, corpus: Path, silver: Path | None, vocabulary: Vocabulary) -> dict[str, str | None]:
    """Return the digests that identify the data of a training or a search."""
    return {
        "corpus_digest": file_digest(corpus),
        "silver_digest": file_digest(silver) if silver else None,
        "mesh_digest": vocabulary.digest,
    }


def rate_at(step: int, *, steps: int, recipe: Recipe) -> float:
    """Return the share of the peak rate: linear warm-up, then constant or linear to zero, as the schedule says."""
    first = max(1, int(steps * recipe.warmup))
    if step < first:
        return (step + 1) / first
    return 1.0 if recipe.schedule == "constant" else max(0.0, (steps - step) / max(1, steps - first))


@dataclass(slots=True)
class _Run:
    """The steps of a training in this process, from where the last one ended."""

    trainer: Trainer
    max_hours: float | None
    watch: Watch
    save_every: float
    stop_after: int | None
    steps: list[int] = field(init=False)  # of each epoch
    first: int = field(init=False)
    started: float = field(init=False)
    before: float = field(init=False)  # seconds of training in earlier runs
    tokens: int = 0
    measured: bool = False

    def __post_init__(self) -> None:
        trainer = self.trainer
        plans = map(trainer.sampler.plan, range(trainer.recipe.epochs))
        self.steps = [-(-len(plan) // trainer.recipe.accumulate) for plan in plans]
        self.first, self.before, self.started = trainer.state.step, trainer.state.seconds, time.monotonic()

    def take_steps(self, after_epoch: Callable[[int, float], None]) -> bool:
        """Call `after_epoch` with the epochs of earlier runs, and take all steps left; return False if it stopped."""
        trainer, recipe, state = self.trainer, self.trainer.recipe, self.trainer.state
        for epoch, f1 in enumerate(state.dev_f1):
            after_epoch(epoch, f1)
        samples = (len(trainer.sampler.samples), "sentence")
        counts = (samples, (state.epochs, "epoch"), (self.planned, "step"))
        trainer.log(f"{', '.join(plural(*each) for each in counts)}, from step {state.step}")
        saved = time.monotonic()
        while state.epoch < state.epochs:
            if state.stopped(recipe.patience):
                trainer.log(f"no gain on dev for {plural(recipe.patience, 'epoch')}: epoch {state.best} is kept")
                break
            drawn = trainer.sampler.epoch(state.epoch, skip=state.batch)
            while batches := list(islice(drawn, recipe.accumulate)):
                trainer.take_step(batches, rate_at(state.step, steps=self.planned, recipe=recipe))
                self._count(batches)
                stop = self.stop_after is not None and state.step - self.first >= self.stop_after
                if stop or time.monotonic() - saved > self.save_every:
                    trainer.save()
                    saved = time.monotonic()
                if stop:
                    return False
            trainer.end_epoch()
            self._measure()
            if state.dev_f1:
                trainer.save()
                after_epoch(state.epoch - 1, state.dev_f1[-1])
            self.watch(self.progress)
        trainer.save()
        return True

    @property
    def planned(self) -> int:
        """The number of steps of all epochs."""
        return sum(self.steps[: self.trainer.state.epochs])

    @property
    def seconds_a_step(self) -> float:
        return (time.monotonic() - self.started) / max(1, self.trainer.state.step - self.first)

    @property
    def progress(self) -> Progress:
        state, steps = self.trainer.state, self.planned
        seconds_left = (steps - state.step) * self.seconds_a_step
        return Progress(step=state.step, steps=steps, epoch=state.epoch, epochs=state.epochs, seconds_left=seconds_left)

    def _count(self, batches: list[Batch]) -> None:
        """Count a step, measure the speed once, and report at regular intervals."""
        state = self.trainer.state
        seconds = time.monotonic() - self.started
        state.seconds = self.before + seconds
        self.tokens += sum(int(batch.mask.sum()) for batch in batches)
        if not self.measured and seconds >= MEASURED_AFTER_S:
            self._measure()
        if state.step % REPORT_EVERY == 0 or state.step == self.planned:
            left = in_hours(self.progress.seconds_left)
            speed = f"{self.tokens / seconds:.0f} tokens/s, {left} left"
            _report(self.trainer, f"step {state.step}/{self.planned}", speed)
            self.watch(self.progress)

    def _measure(self) -> None:
        """Log the time that the training takes here, and drop the epochs that do not fit into the budget."""
        trainer, state, each = self.trainer, self.trainer.state, self.seconds_a_step
        if not self.measured:
            whole = in_hours(state.seconds + self.progress.seconds_left)
            an_epoch = in_hours(self.steps[0] * each)
            trainer.log(f"on this host: {whole} for {plural(state.epochs, 'epoch')}, {an_epoch} each")
        self.measured = True
        if self.max_hours is None:
            return
        left = self.max_hours * 3600 - state.seconds
        fit = epochs_that_fit(self.steps[: state.epochs], at=state.step, seconds_a_step=each, seconds_left=left)
        if fit == 0:
            raise none_fits(self.steps[0] * each, self.max_hours)
        fit = max(fit, state.epoch + (state.batch > 0))  # an epoch that has begun after another one is finished
        if fit < state.epochs:
            trainer.log(f"max_hours {self.max_hours:g}: {fit} of {plural(trainer.recipe.epochs, 'epoch')} fit")
            state.epochs = fit


def _report(trainer: Trainer, place: str, speed: str) -> None:
    """Add the mean losses since the last report to the curve, and log them."""
    state = trainer.state
    means = [sum(column) / len(column) for column in zip(*state.recent, strict=True)]
    row = dict(zip(LOSSES, (round(mean, 5) for mean in means), strict=True))
    add_row(trainer.output / "loss.jsonl", {"step": state.step, "epoch": state.epoch, **row})
    state.recent.clear()
    shown = " ".join(f"{name} {value:.4f}" for name, value in row.items())
    trainer.log(f"epoch {state.epoch} {place} {shown} {speed}")


def _read_dev(folder: Path) -> tuple[float, ...]:
    curve = folder / "dev.jsonl"
    return tuple(json.loads(row)["f1"] for row in curve.read_text().splitlines()) if curve.exists() else ()


@fails_in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.model.training.train", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="TOML file (docs/training.md)")
    parser.add_argument("--output", required=True, type=Path, help="folder of the model and its checkpoint")
    parser.add_argument("--corpus", type=Path, help="prepared corpus, instead of the data that the file names")
    parser.add_argument("--silver", type=Path, help="sentences that models have tagged, instead of the file's")
    parser.add_argument("--mesh", type=Path, help="entities table, instead of the one that the file names")
    parser.add_argument("--encoder", help="transformers folder or hub name, instead of the one that the file names")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--save-every", type=float, default=300.0, help="seconds between checkpoints (300)")
    parser.add_argument("--stop-after", type=int, help="stop after this many steps, leaving a checkpoint")
    options = parser.parse_args(arguments)
    changes = {key: getattr(options, key) for key in ("encoder", "seed") if getattr(options, key) is not None}
    logging.disable_progress_bar()  # of the weights
    config = read_config(options.config, corpus=options.corpus, silver=options.silver, changes=changes)
    corpus, mesh = config.corpus, options.mesh or config.mesh
    if corpus is None:
        parser.error(f"{options.config} names gold files; prepare them (e2emern corpus) and give --corpus")
    if mesh is None:
        parser.error(f"{options.config} names no entities table; give --mesh")
    train(
        config.recipe,
        corpus=corpus,
        silver=config.silver,
        mesh=mesh,
        output=options.output,
        folder=config.folder,
        device=options.device,
        save_every=options.save_every,
        stop_after=options.stop_after,
        log=lambda line: print(line, flush=True),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
