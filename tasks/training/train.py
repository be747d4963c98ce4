"""Train from a TOML file: prepare the corpus from gold files, then train once per seed, or search a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from e2emern.model.corpus import write_corpus
from e2emern.model.network import E2emernConfig
from e2emern.model.training.recipe import Config, GoldFile, Recipe, RecipeError
from e2emern.model.training.search import AfterEpoch, Found, read_space, search
from e2emern.model.training.train import Trained, data_digests, read_vocabulary, train
from e2emern.tasks.errors import InputError
from e2emern.tasks.training.finalize import finalize, read_resolver
from e2emern.tasks.training.gold import read_split

_WEIGHED = ("tag_scheme", "attention", "fusion", "use_mid", "use_high")  # these determine the features of a resolver


def train_seeds(
    config: Config,
    *,
    output: Path,
    mesh: Path,
    device: str,
    seeds: Sequence[int],
    resolver_of: Path | None = None,
    log: Callable[[str], None],
) -> list[Trained]:
    """Train once per seed: in `output`, or in `output/seed-N` if there are several seeds.

    A model that can annotate is also finalized: its resolver is fitted on the dev splits or, if there are none, copied
    from the model `resolver_of`. Raises InputError if the data, the encoder or that model cannot be used, or a seed is
    given twice.
    """
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seed: found {', '.join(map(str, seeds))}, expected each once")
    if resolver_of:
        _check_resolver(resolver_of, config.recipe)
    corpus = prepare_corpus(config, output, log=log)
    begin = _begin(config, corpus=corpus, mesh=mesh, device=device)
    trained = []
    for seed in seeds:
        folder, seed_log = output, log
        if len(seeds) > 1:
            folder, seed_log = output / f"seed-{seed}", _log_of_seed(seed, log)
        recipe = replace(config.recipe, seed=seed)
        with one_line():
            trained.append(begin(recipe, output=folder, log=seed_log))
            if recipe.annotates:
                finalize(
                    folder,
                    mesh=mesh,
                    corpus=corpus,
                    trained_on=recipe.train,
                    fit_on=recipe.dev,
                    resolver_of=resolver_of,
                    device=device,
                    log=seed_log,
                )
    return trained


def search_recipe(
    config: Config, *, output: Path, mesh: Path, device: str, trials: int, log: Callable[[str], None]
) -> Found:
    """Search the space of the file's `[search]` table. Raises InputError as `train_seeds` does."""

    def train_trial(recipe: Recipe, folder: Path, after_epoch: AfterEpoch) -> Trained:
        return begin(recipe, output=folder, after_epoch=after_epoch, log=log)

    with one_line():
        space = read_space(config.search)
        corpus = prepare_corpus(config, output, log=log)
        begin = _begin(config, corpus=corpus, mesh=mesh, device=device)
        data = data_digests(corpus=corpus, silver=find_silver(config), vocabulary=read_vocabulary(mesh))
        return search(config.recipe, space, trials=trials, output=output, data=data, train_trial=train_trial, log=log)


def prepare_corpus(config: Config, output: Path, *, log: Callable[[str], None]) -> Path:
    """Return the prepared corpus that a recipe file names, or build one from the gold files that it names.

    A built corpus is kept in `output`, named by a digest of its files, and reused. Raises InputError.
    """
    if config.corpus is not None:
        if not config.corpus.is_file():
            raise InputError(f"no such corpus; {config.path} names it", path=config.corpus)
        return config.corpus
    used = {*config.recipe.all_train, *config.recipe.dev}
    files = [file for file in config.gold if f"{file.corpus}/{file.split}" in used]
    for file in files:
        if not file.path.is_file():
            raise InputError(
                f"no such file, needed for {file.corpus}/{file.split}; name its folder (setting data, or --data)",
                path=file.path,
            )
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"corpus.{_digest(files)}.parquet"
    if not path.exists():
        documents = [
            document
            for file in files
            for document in read_split(
                file.path, corpus=file.corpus, split=file.split, annotated_types=file.annotates, log=log
            )
        ]
        write_corpus(documents, path)
    return path


def find_silver(config: Config) -> Path | None:
    """Return the file of tagged sentences that a recipe file names, or None. Raises InputError."""
    if config.silver is not None and not config.silver.is_file():
        raise InputError("no such file of tagged sentences; create one with `e2emern silver`", path=config.silver)
    return config.silver


def _begin(config: Config, *, corpus: Path, mesh: Path, device: str) -> Callable[..., Trained]:
    silver = find_silver(config)
    return partial(train, corpus=corpus, silver=silver, mesh=mesh, folder=config.folder, device=device)


def _log_of_seed(seed: int, log: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: log(f"seed {seed}: {line}")


def _check_resolver(model: Path, recipe: Recipe) -> None:
    if recipe.dev:
        raise InputError("--resolver-of: the resolver is fitted on the dev splits; give it with --with-dev")
    if not recipe.annotates:
        raise InputError("--resolver-of: the recipe trains no level that links")
    read_resolver(model)
    if differs := other_kind(model, recipe):
        raise InputError(
            f"--resolver-of {model}: {differs} as in this training; a resolver fits only the scores of its own kind "
            "of network"
        )


def other_kind(model: Path, recipe: Recipe) -> str | None:
    """Return how a model differs from the networks of a recipe so that its resolver does not fit; else None."""
    network = E2emernConfig.from_pretrained(model)
    for key in _WEIGHED:
        if (found := getattr(network, key)) != (wanted := getattr(recipe, key)):
            return f"found {key} {found!r}, expected {wanted!r}"
    return None


def _digest(files: Sequence[GoldFile]) -> str:
    hashed = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.path.read_bytes()).hexdigest()
        hashed.update(f"{file.corpus}/{file.split} {','.join(file.annotates)} {file.path.name} {content}\n".encode())
    return hashed.hexdigest()[:12]


@contextmanager
def one_line(lower: str = "tokens") -> Iterator[None]:
    """Turn errors of a training into a one-line InputError; `lower` is the setting to lower if memory runs out."""
    try:
        yield
    except RecipeError as error:
        raise InputError(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise InputError(f"out of memory; lower {lower}, or --device cpu") from error
