"""Trains the three levels together (section 3.3) as a TOML file describes.

    python -m e2emern.model.training.train --config FILE --output DIR

The random numbers of a step depend on (seed, step) alone, and a checkpoint holds weights, moments and the position in
the data, so that a resumed run ends with the same weights as an uninterrupted one. `e2emern train` does the same and
also reads gold files; here the file names a prepared corpus.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
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
from e2emern.model.training.checkpoint import remove_checkpoint
from e2emern.model.training.recipe import Recipe, RecipeError, read_config
from e2emern.model.training.trainer import LOSSES, Trainer, add_row, check_free, check_same, make_trainer
from e2emern.model.vocabulary import Vocabulary

REPORT_EVERY = 50  # steps


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
    after_epoch: Callable[[int, float], None] = lambda epoch, f1: None,
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
        after_epoch: called with every epoch that was scored on dev, including those of earlier runs, and its F1.
        log: receives the log lines.

    Raises:
        RecipeError: the encoder or the data cannot be used, or `output` holds another training, or a model of another
            origin.
    """
    output.mkdir(parents=True, exist_ok=True)
    vocabulary, recipe = read_vocabulary(mesh), recipe.on(device)
    data = data_digests(corpus=corpus, silver=silver, vocabulary=vocabulary)
    made_from = json.loads(json.dumps(asdict(recipe) | data))
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
    if not _run(trainer, save_every=save_every, stop_after=stop_after, after_epoch=after_epoch):
        return Trained(output, tuple(trainer.state.dev_f1), finished=False)
    if trainer.best is not None:
        trainer.model.load_state_dict(trainer.best)
    save_model(trainer.model, trainer.tokenizer, output)
    write_seen(output, trainer.seen)
    write_text(output / "recipe.json", json.dumps(made_from, indent=1) + "\n")
    remove_checkpoint(output)
    return Trained(output, tuple(trainer.state.dev_f1), finished=True)


def _finished(output: Path, made_from: dict[str, Any], *, log: Callable[[str], None]) -> Trained:
    """Return the result of an earlier run that finished. Raises RecipeError if it was another training."""
    check_same(json.loads((output / "recipe.json").read_text()), made_from, output)
    remove_checkpoint(output)
    log(f"{output} is trained already")
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


def _run(
    trainer: Trainer, *, save_every: float, stop_after: int | None, after_epoch: Callable[[int, float], None]
) -> bool:
    """Call `after_epoch` with the epochs of earlier runs, and take all remaining steps; return False if it stopped."""
    recipe, state, sampler = trainer.recipe, trainer.state, trainer.sampler
    for epoch, f1 in enumerate(state.dev_f1):
        after_epoch(epoch, f1)
    steps = sum(-(-len(sampler.plan(epoch)) // recipe.accumulate) for epoch in range(recipe.epochs))
    counts = ((len(sampler.samples), "sentence"), (recipe.epochs, "epoch"), (steps, "step"))
    trainer.log(f"{', '.join(plural(*each) for each in counts)}, from step {state.step}")
    first, tokens, started = state.step, 0, time.monotonic()
    saved = started
    for epoch in range(state.epoch, recipe.epochs):
        if state.stopped(recipe.patience):
            trainer.log(f"no gain on dev in {plural(recipe.patience, 'epoch')}: epoch {state.best} is kept")
            break
        drawn = sampler.epoch(epoch, skip=state.batch)
        while batches := list(islice(drawn, recipe.accumulate)):
            trainer.take_step(batches, rate_at(state.step, steps=steps, recipe=recipe))
            tokens += sum(int(batch.mask.sum()) for batch in batches)
            if state.step % REPORT_EVERY == 0 or state.step == steps:
                seconds = time.monotonic() - started
                left = (steps - state.step) * seconds / (state.step - first)
                _report(trainer, f"step {state.step}/{steps}", f"{tokens / seconds:.0f} tokens/s, {_time(left)} left")
            stop = stop_after is not None and state.step - first >= stop_after
            if stop or time.monotonic() - saved > save_every:
                trainer.save()
                saved = time.monotonic()
            if stop:
                return False
        trainer.end_epoch()
        if state.dev_f1:
            trainer.save()
            after_epoch(epoch, state.dev_f1[-1])
    trainer.save()
    return True


def _report(trainer: Trainer, place: str, speed: str) -> None:
    """Add the mean losses since the last report to the curve, and log them."""
    state = trainer.state
    means = [sum(column) / len(column) for column in zip(*state.recent, strict=True)]
    row = dict(zip(LOSSES, (round(mean, 5) for mean in means), strict=True))
    add_row(trainer.output / "loss.jsonl", {"step": state.step, "epoch": state.epoch, **row})
    state.recent.clear()
    shown = " ".join(f"{name} {value:.4f}" for name, value in row.items())
    trainer.log(f"epoch {state.epoch} {place} {shown} {speed}")


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


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
    parser.add_argument("--stop-after", type=int, help="stop after so many steps, leaving a checkpoint")
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
