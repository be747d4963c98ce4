"""The hours of a training, and the epochs that fit into a budget."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from e2emern.model.training import train as training
from e2emern.model.training.budget import epochs_that_fit
from e2emern.model.training.recipe import Recipe, RecipeError
from e2emern.model.training.train import Progress, train
from e2emern.model.training.trainer import Trainer
from tests.model import tiny


@pytest.mark.parametrize(
    ("at", "seconds_left", "fit"),
    [
        (0, 59.0, 0),
        (0, 60.0, 1),
        (0, 119.0, 1),
        (0, 1e9, 3),
        (3, 29.0, 0),
        (3, 30.0, 1),
        (6, 0.0, 1),
        (6, -5.0, 1),
        (7, 50.0, 2),
    ],
)
def test_only_epochs_that_end_in_time_fit(at: int, seconds_left: float, fit: int) -> None:
    assert epochs_that_fit([6, 6, 6], at=at, seconds_a_step=10.0, seconds_left=seconds_left) == fit


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tiny.save_training(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def an_hour_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes an hour."""
    now, take_step = [0.0], Trainer.take_step

    def slow(*given: object) -> None:
        now[0] += 3600
        take_step(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "take_step", slow)
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))


def trained(data: Path, output: Path, *, logged: list[str], **options: object) -> list[Progress]:
    """Train for three epochs, and return what the training reported."""
    seen: list[Progress] = []
    made = Recipe(encoder="encoder", train=("tiny/train",), epochs=3, tokens=60, precision="fp32")
    train(
        made, corpus=data / "corpus.parquet", mesh=data / "entities/tiny.parquet", output=output, folder=data,
        log=logged.append, watch=seen.append, **options,
    )  # type: ignore[arg-type]  # fmt: skip
    return seen


def test_a_training_ends_after_the_last_epoch_that_fits(data: Path, tmp_path: Path) -> None:
    logged: list[str] = []
    seen = trained(data, tmp_path / "whole", logged=logged)
    steps = seen[-1].steps // 3
    hours = f"{float(steps)} hours"
    assert f"on this host: {3.0 * steps} hours for 3 epochs, {hours} each" in logged
    assert (seen[-1].epoch, seen[-1].seconds_left) == (3, 0.0)

    seen = trained(data, tmp_path / "cut", logged=logged, max_hours=2 * steps + 0.5)
    assert f"max_hours {2 * steps + 0.5:g}: 2 of 3 epochs fit" in logged
    assert (seen[-1].step, seen[-1].steps, seen[-1].epoch) == (2 * steps, 2 * steps, 2)
    recipe = json.loads((tmp_path / "cut" / "recipe.json").read_text())
    assert (recipe["epochs"], recipe["cut"]) == (3, {"max_hours": 2 * steps + 0.5, "epochs": 2})
    assert "cut" not in json.loads((tmp_path / "whole" / "recipe.json").read_text())


def test_the_time_of_earlier_runs_counts(data: Path, tmp_path: Path) -> None:
    logged: list[str] = []
    steps = trained(data, tmp_path / "whole", logged=logged)[-1].steps // 3
    budget = 2 * steps + 0.5
    trained(data, tmp_path / "cut", logged=logged, max_hours=budget, stop_after=steps + 1)
    seen = trained(data, tmp_path / "cut", logged=logged, max_hours=budget)
    assert seen[-1].step == 2 * steps


def test_a_training_of_which_no_epoch_fits_ends_without_a_model_and_continues_with_more_hours(
    data: Path, tmp_path: Path
) -> None:
    logged: list[str] = []
    with pytest.raises(
        RecipeError, match=r"not trained: an epoch takes about .* hours on this host, but max_hours is 1"
    ):
        trained(data, tmp_path / "model", logged=logged, max_hours=1.0)
    assert not (tmp_path / "model" / "model.safetensors").exists()
    assert trained(data, tmp_path / "model", logged=logged)[-1].epoch == 3
