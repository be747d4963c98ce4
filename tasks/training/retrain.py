"""Train a challenger: collect its training data, train it, and prepare it for annotation.

The result is in a folder of the home, whose name is a digest of recipe, data and encoder. So a killed retraining
resumes, and a finished one is not repeated. `tasks.training.roles` decides on which documents models are judged.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from e2emern.model.corpus import GoldDocument, write_corpus
from e2emern.model.seen import Seen, identities, identity
from e2emern.model.training.calibrate import read_fitted
from e2emern.model.training.distillation import seen_by_teachers
from e2emern.model.training.recipe import Config, Recipe, find_encoder, make_recipe, read_config
from e2emern.model.training.train import CUT, Watch, train
from e2emern.model.version import model_version, weights_digest
from e2emern.tasks.devices import pick_device
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_vocabulary, seen_by
from e2emern.tasks.resolve import find_model, find_recipe
from e2emern.tasks.training.corrections import CORPUS, SPLIT, Corrections, read_corrections
from e2emern.tasks.training.finalize import finalize
from e2emern.tasks.training.gold import find_gold, read_prepared
from e2emern.tasks.training.roles import Roles, assign
from e2emern.tasks.training.train import find_silver, one_line, other_kind, prepare_corpus
from e2emern.warehouse.files import atomic_write, locked
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.registry.corrections import pending_corrections
from e2emern.warehouse.registry.evaluations import Judged
from e2emern.warehouse.wording import MOST_EXAMPLES, by_kind, plural

Log = Callable[[str], None]

CHAMPION = "champion"
"""Value of `encoder` for the encoder of the champion."""
LEAST_TO_FIT = 100
"""Minimum documents to fit a resolver on; with fewer, a model that continues keeps the champion's."""
DISK_OF_WEIGHTS = 14
"""Bytes of disk for each byte of initial weights: up to two checkpoints with weights, moments and best weights in
32 bits, the model, and its copy in the home."""
ENDED = "ended.json"
"""File in the folder of a retraining that has ended; written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The inputs of a challenger.

    Attributes:
        folder: folder of the retraining; `folder/model` becomes the challenger.
        recipe: its `train` has the splits to train on, its `dev` those for model selection and for fitting.
        judged: splits of the corpus that models are compared on; no model has seen their documents.
        judging: number of these documents.
        fresh: number of training documents that the champion was not trained on, or that were corrected since.
        corrections: the pending correction files that have a usable document, with their digests.
        resolver_of: the model whose resolver and threshold are kept; None if there is enough to fit new ones.
        near: the threshold of the champion, if a new one is fitted to a model that continues from it.
        silver: file of additional tagged sentences.
        known: encoder, recipe and data; a model of the home with the same values is the result of this plan.
    """

    folder: Path
    recipe: dict[str, Any]
    encoder_folder: Path
    judged: tuple[str, ...]
    judging: int
    fresh: int
    corrections: dict[str, str]
    resolver_of: Path | None
    near: float | None
    mesh: Path
    silver: Path | None
    known: dict[str, str]
    data: dict[str, Any]  # the origin of the corpus, to be recorded

    @property
    def corpus(self) -> Path:
        """The file with the documents of all splits."""
        return self.folder / "corpus.parquet"

    @property
    def model(self) -> Path:
        """The folder of the challenger."""
        return self.folder / "model"

    def read(self, splits: Sequence[str]) -> list[GoldDocument]:
        """Return the documents of some splits."""
        return read_prepared(self.corpus, splits=splits)

    def read_corrected(self) -> list[GoldDocument]:
        """Return the corrected documents, including those reserved to judge."""
        return self.read([one for one in (*self.recipe["train"], *self.judged) if one.startswith(f"{CORPUS}/")])


def plan_retraining(
    home: Home,
    *,
    config: Path,
    mesh: Path,
    data: Path | None = None,
    corrections: Path | None = None,
    encoder: str = CHAMPION,
    gold: Sequence[str] = (),
    log: Log = print,
) -> Plan:
    """Collect the training data of a challenger, decide the role of each document, and keep the result in the home.

    Args:
        config: TOML file of a recipe, or the name of a shipped one; `data` is the folder of the gold files it names.
        corrections: folder of corrected documents (`tasks.training.corrections`).
        encoder: initial encoder: `champion`, `recipe` (the one in the file), or a folder or name.
        gold: documents to compare models on, as for `find_gold`, instead of those reserved of the recipe's gold.

    Raises InputError if the recipe or its data cannot be used, or if it is unknown what a model has seen.
    """
    leading = find_model(None, home=home).resolve()
    start = leading if encoder == CHAMPION else encoder
    changes = {} if encoder == "recipe" else {"encoder": str(start)}
    with one_line():
        read = read_config(find_recipe(config), data=data, changes=changes)
    vocabulary, silver = read_vocabulary(mesh), find_silver(read)
    named = _named(gold, recipe=read.recipe)
    waiting = pending_corrections(home, corrections)
    corrected = read_corrections(corrections, vocabulary=vocabulary, judged={one.document_id for one in named})
    _log_corrections(corrected, log)
    of_champion = seen_by(leading)
    roles = assign(
        **_read_gold(read, home, log),
        corrected=corrected.documents,
        named=named,
        seen=of_champion | _seen_by_origin(read, silver),
    )
    _log_roles(roles, log)
    recipe = _recipe_of(read.recipe, roles)
    known = _known(CHAMPION if start == leading else read.recipe.encoder, recipe, roles, mesh=mesh, silver=silver)
    beginning = weights_digest(start) if isinstance(start, Path) else read.recipe.encoder
    resolver_of, near = _resolver(leading, recipe, roles) if encoder == CHAMPION else (None, None)
    plan = Plan(
        folder=home.training / _digest([known, beginning])[:16],
        recipe=asdict(recipe),
        encoder_folder=read.folder,
        judged=_splits(roles.judged),
        judging=len(roles.judged),
        fresh=_fresh(roles, corrected, waiting, trained=of_champion.trained),
        corrections={name: digest for name, digest in waiting.items() if corrected.files.get(name)},
        resolver_of=resolver_of,
        near=near,
        mesh=mesh,
        silver=silver,
        known=known,
        data=_data_record(read, corrected, roles),
    )
    _keep(plan, roles.documents)
    return plan


def _known(origin: str, recipe: Recipe, roles: Roles, *, mesh: Path, silver: Path | None) -> dict[str, str]:
    return {
        "encoder": origin,
        "recipe": _digest(asdict(replace(recipe, encoder=""))),
        "documents": _digest(roles.documents),
        "vocabulary": digest_file(mesh),
        **({"silver": digest_file(silver)} if silver else {}),
    }


def _read_gold(read: Config, home: Home, log: Log) -> dict[str, list[GoldDocument]]:
    """Return the gold of a recipe, grouped by its purpose in the recipe."""
    prepared = prepare_corpus(read, home.training, log=log)
    named = {"of_train": read.recipe.train, "auxiliary": read.recipe.auxiliary, "of_dev": read.recipe.dev}
    return {name: read_prepared(prepared, splits=splits) for name, splits in named.items()}


def _splits(documents: Sequence[GoldDocument]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{document.corpus}/{document.split}" for document in documents))


def _recipe_of(recipe: Recipe, roles: Roles) -> Recipe:
    """Return the recipe with the splits that have documents left."""
    left = _splits(roles.train)
    return replace(
        recipe,
        train=tuple(split for split in left if split not in recipe.auxiliary) or recipe.train,
        auxiliary=tuple(split for split in recipe.auxiliary if split in left),
        names_only=tuple(split for split in recipe.names_only if split in left),
        dev=_splits(roles.fit),
        patience=recipe.patience if roles.fit else 0,
    )


def _keep(plan: Plan, documents: Sequence[GoldDocument]) -> None:
    plan.folder.mkdir(parents=True, exist_ok=True)
    if not plan.corpus.exists():
        write_corpus(documents, plan.corpus)
    _write(plan.folder / "data.json", plan.data)


def _named(gold: Sequence[str], *, recipe: Recipe) -> list[GoldDocument]:
    """Return the documents that are named to judge. Raises InputError if the recipe trains on them."""
    named = find_gold(gold)
    if both := {*_splits(named)} & {*recipe.all_train}:
        raise InputError(f"{min(both)} is used for training; models are compared on documents that they have not seen")
    return named


def _seen_by_origin(read: Config, silver: Path | None) -> Seen:
    """Return the documents that the encoder and the teachers have seen. Raises InputError if they are unknown."""
    with one_line():
        seen = seen_by(Path(find_encoder(read.recipe.encoder, folder=read.folder)))
    taught = seen_by_teachers(silver) if silver else Seen()
    if taught is None:
        raise InputError("does not list the documents that its teachers have seen; create it again", path=silver)
    return seen | taught


def _resolver(champion: Path, recipe: Recipe, roles: Roles) -> tuple[Path | None, float | None]:
    """Return the model whose resolver is kept, or the threshold that a new one must be close to.

    The champion's resolver is kept if fewer than `LEAST_TO_FIT` documents are left to fit another.
    """
    fitted = read_fitted(champion)
    if fitted is None or other_kind(champion, recipe):
        return None, None
    return (champion, None) if len(roles.fit) < LEAST_TO_FIT else (None, float(fitted["span_threshold"]))


def _fresh(roles: Roles, corrected: Corrections, waiting: Mapping[str, str], *, trained: frozenset[str]) -> int:
    """Return the number of training documents that are new to the champion, or were corrected since."""
    changed = identities(one for one in corrected.documents if corrected.file_of[one.document_id] in waiting)
    return sum(identity(one) in changed or identity(one) not in trained for one in roles.train)


def make_challenger(
    plan: Plan,
    *,
    device: str = "auto",
    max_hours: float | None = None,
    watch: Watch = lambda progress: None,
    log: Log = print,
) -> Path:
    """Train, build the bank and fit the resolver, skipping finished steps; return the challenger's folder.

    Args:
        max_hours: time budget of the training, which ends after the last epoch that fits.
        watch: called after every report and epoch of the training.

    Raises InputError if the encoder or the data cannot be used, memory or the disk does not suffice, or no epoch fits
    into the budget.
    """
    place = pick_device(device)
    _log_needs(plan, log)
    busy = InputError("another process runs this retraining", path=plan.folder)
    with one_line(), locked(plan.folder / ".lock", busy=busy):
        recipe = make_recipe(plan.recipe)
        train(
            recipe, corpus=plan.corpus, silver=plan.silver, mesh=plan.mesh, output=plan.model,
            folder=plan.encoder_folder, device=place, max_hours=max_hours, watch=watch, log=log,
        )  # fmt: skip
        if plan.resolver_of:
            log(f"the champion's resolver and threshold are kept: fewer than {LEAST_TO_FIT} documents to fit on")
        finalize(
            plan.model, mesh=plan.mesh, corpus=plan.corpus, trained_on=recipe.train, fit_on=recipe.dev,
            resolver_of=plan.resolver_of, near=plan.near, device=place, log=log,
        )  # fmt: skip
        log(f"the challenger is model {model_version(plan.model)}")
        _write(plan.model / "retraining.json", plan.known)
    return plan.model


def _log_needs(plan: Plan, log: Log) -> None:
    """Log the epochs and the disk that a training needs. Raises InputError if the disk does not suffice."""
    free = shutil.disk_usage(plan.folder).free
    needed = DISK_OF_WEIGHTS * _weights_bytes(plan) + plan.corpus.stat().st_size
    epochs = plural(plan.recipe["epochs"], "epoch")
    log(f"{epochs}; up to {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB free; the first minute shows the hours")
    if needed > free:
        raise InputError(
            f"a training needs up to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB is free; make room (e2emern "
            "snapshots prune), or put home on a larger disk",
            path=plan.folder,
        )


def _weights_bytes(plan: Plan) -> int:
    """Return the size of the weights to start from; 0 if they are not in a folder yet."""
    folder = plan.encoder_folder / plan.recipe["encoder"]
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A training that a budget cut short after some epochs."""

    max_hours: float
    epochs: int


def cut_of(model: Path) -> Cut | None:
    """Return how a budget cut the training of a model short; None if it did not."""
    found = json.loads((model / "recipe.json").read_bytes()).get(CUT)
    return Cut(**found) if found else None


def already_trained(plan: Plan, model: Path) -> bool:
    """Return whether a model was retrained with exactly this recipe and these documents."""
    path = model / "retraining.json"
    return path.exists() and json.loads(path.read_bytes()) == plan.known


def _log_corrections(corrected: Corrections, log: Log) -> None:
    for file, documents in corrected.files.items():
        log(f"corrections: {file}: {plural(documents, 'document')}")
    for file, types in corrected.passed_over.items():
        log(f"corrections: {file}: passed over: {by_kind(types)}")
    for one in corrected.refused[:MOST_EXAMPLES]:
        log(f"corrections: {one.file}: {one.position}: document {one.document_id or 'unknown'} refused: {one.reason}")
    if (more := len(corrected.refused) - MOST_EXAMPLES) > 0:
        log(f"corrections: and {plural(more, 'more document')} refused; retraining.json has all of them")


def ended(plan: Plan, *, max_hours: float | None = None) -> str | None:
    """Return the evaluation that this retraining ended with.

    Return None if it has not ended, or if a budget below `max_hours` cut its training short.
    """
    path = plan.folder / ENDED
    if not path.exists():
        return None
    record = json.loads(path.read_bytes())
    cut: float | None = record["cut_at_hours"]
    return str(record["evaluation"]) if cut is None or (max_hours is not None and max_hours <= cut) else None


def note_ended(plan: Plan, judged: Judged, *, cut: Cut | None) -> None:
    """Record that a retraining has ended with an evaluation, so the files of its training are no longer needed.

    The record of an earlier run with the same evaluation stays.
    """
    path = plan.folder / ENDED
    if path.exists() and json.loads(path.read_bytes())["evaluation"] == judged.evaluation:
        return
    hours = cut and cut.max_hours
    record = {"evaluation": judged.evaluation, "challenger": judged.challenger, "cut_at_hours": hours}
    _write(path, record)


def _log_roles(roles: Roles, log: Log) -> None:
    if roles.known:
        log(f"{plural(roles.known, 'document')} cannot judge: the champion or an ancestor has seen them")
    parts = {"train": roles.train, "fit": roles.fit, "judge": roles.judged}
    log("; ".join(f"{plural(len(part), 'document')} to {what}{_counted(part)}" for what, part in parts.items()))


def _counted(documents: Sequence[GoldDocument]) -> str:
    counts = Counter(f"{one.corpus}/{one.split}" for one in documents)
    return f" ({', '.join(f'{split} {number}' for split, number in counts.items())})" if counts else ""


def _data_record(read: Config, corrected: Corrections, roles: Roles) -> dict[str, Any]:
    counts = Counter(f"{one.corpus}/{one.split}" for one in roles.train)
    return {
        "recipe": str(read.path.name),
        "gold": {split: counts[split] for split in read.recipe.all_train},
        f"{CORPUS}/{SPLIT}": corrected.files,
        "judged": dict(Counter(f"{one.corpus}/{one.split}" for one in roles.judged)),
        "refused": [asdict(one) for one in corrected.refused],
    }


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _write(path: Path, content: object) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")
