"""A search on a tiny model: three trials, one of them killed; and errors of a search."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from e2emern.model.training.recipe import MissingExtraError, Recipe, RecipeError
from e2emern.model.training.search import AfterEpoch, Choice, Range, read_space, search
from e2emern.model.training.train import Trained, data_digests, train
from tests.model import tiny

SPACE = {"head_rate": Range(1e-3, 1e-1, log=True), "attention": Choice(("bilinear", "uniform")), "epochs": Range(2, 3)}
DATA = {"corpus_digest": "one"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tiny.save_training(folder)
    return folder


def recipe(**options: object) -> Recipe:
    settings: dict[str, object] = {"train": ("tiny/train",), "dev": ("tiny/dev",), "tokens": 60, **options}
    return Recipe(encoder="encoder", **settings)  # type: ignore[arg-type]


def test_a_killed_search_resumes_and_finds_the_best(data: Path, tmp_path: Path) -> None:
    trained: list[tuple[str, Recipe]] = []
    lines: list[str] = []
    killed = False

    def train_trial(drawn: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        nonlocal killed
        trained.append((folder.name, drawn))
        made = train(
            drawn,
            corpus=data / "corpus.parquet",
            mesh=data / "entities/tiny.parquet",
            output=folder,
            folder=data,
            after_epoch=after_epoch,
            stop_after=2 if len(trained) == 2 else None,
            log=lambda line: None,
        )
        if len(trained) == 2:
            killed = True
            raise KeyboardInterrupt
        return made

    def run(trials: int) -> object:
        return search(
            recipe(),
            SPACE,
            trials=trials,
            output=tmp_path / "out",
            data=DATA,
            train_trial=train_trial,
            log=lines.append,
        )

    with pytest.raises(KeyboardInterrupt):
        run(3)
    assert killed
    best = run(3)
    assert [name for name, _ in trained] == ["0", "1", "1", "3"]
    assert trained[1][1] == trained[2][1]  # the killed trial resumes with the same values
    assert {one.attention for _, one in trained} <= {"bilinear", "uniform"}
    assert all(1e-3 <= one.head_rate <= 1e-1 and one.epochs in (2, 3) for _, one in trained)
    kept = list((tmp_path / "out" / "trials").glob("*/model.safetensors"))
    assert [path.parent for path in kept] == [best.folder]  # type: ignore[attr-defined]
    assert lines[-1].startswith("best of 3 trials: F1 ")
    assert "--set head_rate=0.0" in lines[-1]
    run(3)
    assert len(trained) == 4  # done is done
    with pytest.raises(RecipeError, match="holds a search of another recipe, space or data"):
        search(recipe(seed=1), SPACE, trials=3, output=tmp_path / "out", data=DATA, train_trial=train_trial)


def test_a_trial_below_the_median_is_stopped_early_and_a_failed_one_counts(tmp_path: Path) -> None:
    scores = iter([0.8, 0.8, 0.8, 0.8, 0.1, 0.9])
    lines: list[str] = []

    def train_trial(drawn: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        score = next(scores)
        if score == 0.9:
            raise RecipeError("the loss is nan at step 3; lower encoder_rate or head_rate")
        for epoch in range(3):
            after_epoch(epoch, score)
        return Trained(folder, (score,) * 3, finished=True)

    search(recipe(), SPACE, trials=6, output=tmp_path, data=DATA, train_trial=train_trial, log=lines.append)
    assert "trial 4: ended early, below the median of the others" in lines
    assert "trial 5: the loss is nan at step 3; lower encoder_rate or head_rate" in lines


def test_a_search_whose_trials_all_fail_says_why(tmp_path: Path) -> None:
    def train_trial(drawn: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        raise RecipeError("no such encoder")

    with pytest.raises(RecipeError, match="every trial failed; the last one: no such encoder"):
        search(recipe(), SPACE, trials=2, output=tmp_path, data=DATA, train_trial=train_trial, log=lambda line: None)


def test_a_search_without_dev_or_without_optuna_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_trial(drawn: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        raise AssertionError

    with pytest.raises(RecipeError, match="a search needs dev"):
        search(recipe(dev=()), SPACE, trials=1, output=tmp_path, data=DATA, train_trial=train_trial)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError) as missing:
        search(recipe(), SPACE, trials=1, output=tmp_path, data=DATA, train_trial=train_trial)
    assert str(missing.value) == (
        "optuna, which --trials needs, comes with the extra [train], which is not installed; in the folder of the "
        "project: .venv/bin/pip install --editable '.[train]'"
    )


def test_a_trial_that_lacks_the_extra_is_resumed_when_it_is_installed(tmp_path: Path) -> None:
    """Cause: it counted as a failed trial, so the same command never tried again."""
    folders: list[str] = []

    def train_trial(drawn: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        folders.append(folder.name)
        if len(folders) == 1:
            raise MissingExtraError("encoder")
        folder.mkdir(parents=True)
        return Trained(folder, (0.5,), True)

    given = {"trials": 1, "output": tmp_path, "data": DATA, "train_trial": train_trial, "log": lambda line: None}
    with pytest.raises(MissingExtraError):
        search(recipe(), SPACE, **given)  # type: ignore[arg-type]
    assert search(recipe(), SPACE, **given).f1 == 0.5  # type: ignore[arg-type]
    assert folders == ["0", "0"]


def test_a_space_is_lists_and_ranges() -> None:
    table = {
        "epochs": {"low": 2, "high": 5}, "encoder_rate": {"low": 1e-5, "high": 1, "log": True}, "dropout": [0, 0.5],
        "use_mid": [True, False],
    }  # fmt: skip
    assert read_space(table) == {
        "epochs": Range(2, 5), "encoder_rate": Range(1e-5, 1.0, log=True), "dropout": Choice((0.0, 0.5)),
        "use_mid": Choice((True, False)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"no \[search\] table, which names the keys to vary"),
        ({"rate": [1]}, "search: unknown key rate"),
        ({"epochs": [1.5]}, "search.epochs is 1.5, expected a whole number"),
        ({"epochs": {"low": 5, "high": 2}}, "search.epochs is .*, expected numbers with low <= high"),
        ({"dropout": {"low": 0, "high": 1, "log": True}}, "search.dropout is .*, expected numbers with low <= high"),
        ({"epochs": 3}, r"search.epochs is 3, expected a list of values, or \{low = ..., high = ...\}"),
        ({"epochs": {"low": 5}}, "search.epochs is .*, expected a list of values"),
    ],
)
def test_a_mistake_in_a_space_is_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_space(table)


def test_a_search_continues_only_with_the_same_data(data: Path, tmp_path: Path) -> None:
    def train_trial(drawn: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        return Trained(folder, (0.5,), finished=True)

    def run(corpus: Path) -> None:
        known_by = data_digests(corpus=corpus, silver=None, vocabulary=tiny.vocabulary())
        search(
            recipe(), SPACE, trials=1, output=tmp_path, data=known_by, train_trial=train_trial, log=lambda line: None
        )

    run(data / "corpus.parquet")
    run(data / "corpus.parquet")
    with pytest.raises(RecipeError, match="holds a search of another recipe, space or data"):
        run(data / "entities/tiny.parquet")
