"""Train a challenger: collect its training data, train it, and prepare it for annotation.

The result is in a folder of the home, whose name is a digest of recipe, data and encoder. So a retraining that was
killed resumes, and a finished one is not repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from e2emern.model.corpus import GoldDocument, write_corpus
from e2emern.model.training.recipe import Config, Recipe, make_recipe, read_config
from e2emern.model.training.train import train
from e2emern.model.version import model_version, weights_digest
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import pick_device, read_vocabulary
from e2emern.tasks.resolve import find_model, find_recipe
from e2emern.tasks.training.corrections import CORPUS, SPLIT, Corrections, read_corrections
from e2emern.tasks.training.finalize import finalize
from e2emern.tasks.training.gold import find_gold, read_prepared
from e2emern.tasks.training.train import find_silver, one_line, prepare_corpus
from e2emern.warehouse.files import atomic_write, locked
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.wording import MOST_EXAMPLES, by_kind, plural

Log = Callable[[str], None]

CHAMPION = "champion"
"""Value of `encoder` for the encoder of the champion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The inputs of a challenger.

    Attributes:
        folder: of the retraining; `folder/model` becomes the challenger.
        recipe: its `train` has the splits to train on, its `dev` those for model selection and for fitting.
        judged: splits of the corpus that models are compared on.
        silver: file of additional tagged sentences.
        known: encoder, recipe and data; a model of the home with the same values is the result of this plan.
    """

    folder: Path
    recipe: dict[str, Any]
    encoder_folder: Path
    judged: tuple[str, ...]
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
    """Collect the training data of a challenger, and keep it in the home.

    Args:
        config: TOML file of a recipe, or the name of a shipped one.
        data: folder of the gold files that the recipe names.
        corrections: folder of corrected documents (`tasks.training.corrections`); a correction replaces the document
            with its id.
        encoder: initial encoder: `champion`, `recipe` (the one in the file), or a folder or name.
        gold: documents to compare models on, as for `find_gold`, instead of the recipe's dev splits.

    Raises InputError if the recipe or its data cannot be used, or no documents remain to compare models on.
    """
    start = find_model(None, home=home).resolve() if encoder == CHAMPION else encoder
    changes = {} if encoder == "recipe" else {"encoder": str(start)}
    with one_line():
        read = read_config(find_recipe(config), data=data, changes=changes)
    training = home.root / "training"
    prepared = prepare_corpus(read, training, log=log)
    of_train, of_dev = (read_prepared(prepared, splits=splits) for splits in (read.recipe.all_train, read.recipe.dev))
    judged = _judged(gold, of_dev, recipe=read.recipe, config=config)
    vocabulary, silver = read_vocabulary(mesh), find_silver(read)
    kept = {document.document_id for document in (*judged, *of_dev)}
    corrected = read_corrections(corrections, vocabulary=vocabulary, judged=kept)
    _log_corrections(corrected, log)
    of_train, documents = _combined(of_train, corrected, of_dev=of_dev, judged=judged)
    recipe = replace(read.recipe, train=_splits([*of_train, *corrected.documents], but=read.recipe.auxiliary))
    known = {
        "encoder": CHAMPION if encoder == CHAMPION else read.recipe.encoder,
        "recipe": _digest(asdict(replace(recipe, encoder=""))),
        "documents": _digest(documents),
        "vocabulary": digest_file(mesh),
        **({"silver": digest_file(silver)} if silver else {}),
    }
    beginning = weights_digest(start) if isinstance(start, Path) else read.recipe.encoder
    folder = training / _digest([known, beginning])[:16]
    plan = Plan(
        folder=folder,
        recipe=asdict(recipe),
        encoder_folder=read.folder,
        judged=_splits(judged),
        mesh=mesh,
        silver=silver,
        known=known,
        data=_data_record(read, corrected, of_train),
    )
    for split in sorted(trained_on(find_model(None, home=home)) & set(plan.judged)):
        log(f"the champion was trained on {split}: its figures there are too good; name other documents with --gold")
    _keep(plan, documents)
    return plan


def _splits(documents: Sequence[GoldDocument], *, but: Sequence[str] = ()) -> tuple[str, ...]:
    found = dict.fromkeys(f"{document.corpus}/{document.split}" for document in documents)
    return tuple(split for split in found if split not in but)


def _keep(plan: Plan, documents: Sequence[GoldDocument]) -> None:
    plan.folder.mkdir(parents=True, exist_ok=True)
    if not plan.corpus.exists():
        write_corpus(documents, plan.corpus)
    _write(plan.folder / "data.json", plan.data)


def _combined(
    of_train: Sequence[GoldDocument],
    corrected: Corrections,
    *,
    of_dev: Sequence[GoldDocument],
    judged: Sequence[GoldDocument],
) -> tuple[list[GoldDocument], list[GoldDocument]]:
    """Return the training documents that no correction replaces, and all documents of the challenger, each once."""
    replaced = {document.document_id for document in corrected.documents}
    kept = [document for document in of_train if document.document_id not in replaced]
    chosen_by = set(of_dev)
    others = [document for document in judged if document not in chosen_by]
    return kept, [*kept, *corrected.documents, *of_dev, *others]


def _judged(gold: Sequence[str], of_dev: list[GoldDocument], *, recipe: Recipe, config: Path) -> list[GoldDocument]:
    """Return the documents to compare models on. Raises InputError if there are none or the recipe trains on them."""
    judged = find_gold(gold) if gold else of_dev
    if not judged:
        raise InputError(f"{config} names no dev splits; say with gold on which documents models are compared")
    if both := {*_splits(judged)} & {*recipe.all_train}:
        raise InputError(f"{min(both)} is trained on; models are compared on documents that they have not seen")
    return judged


def trained_on(model: Path) -> set[str]:
    """Return the splits that a model was trained on, from its recipe.json; empty without that file."""
    path = model / "recipe.json"
    recipe = json.loads(path.read_bytes()) if path.exists() else {}
    return {*recipe.get("train", ()), *recipe.get("auxiliary", ())}


def make_challenger(plan: Plan, *, device: str = "auto", log: Log = print) -> Path:
    """Train, build the bank and fit the resolver, skipping finished steps; return the challenger's folder.

    Raises InputError if the encoder or the data cannot be used, or memory runs out.
    """
    place = pick_device(device)
    busy = InputError("another process runs this retraining", path=plan.folder)
    with one_line(), locked(plan.folder / ".lock", busy=busy):
        recipe = make_recipe(plan.recipe)
        train(
            recipe, corpus=plan.corpus, silver=plan.silver, mesh=plan.mesh, output=plan.model,
            folder=plan.encoder_folder, device=place, log=log,
        )  # fmt: skip
        finalize(
            plan.model, mesh=plan.mesh, corpus=plan.corpus, trained_on=recipe.train, fit_on=recipe.dev or plan.judged,
            device=place, log=log,
        )  # fmt: skip
        log(f"the challenger is model {model_version(plan.model)}")
        _write(plan.model / "retraining.json", plan.known)
    return plan.model


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


def _data_record(read: Config, corrected: Corrections, of_train: Sequence[GoldDocument]) -> dict[str, Any]:
    return {
        "recipe": str(read.path.name),
        "gold": {
            split: sum(f"{one.corpus}/{one.split}" == split for one in of_train) for split in read.recipe.all_train
        },
        f"{CORPUS}/{SPLIT}": corrected.files,
        "refused": [asdict(one) for one in corrected.refused],
    }


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _write(path: Path, content: object) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")
