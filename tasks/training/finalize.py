"""Prepare a trained model for annotation: build its entity bank and fit its resolver.

Each step is done once and its result kept in the model's folder, so that a killed run resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from e2emern.model.inference.bank import build_bank, read_bank
from e2emern.model.pretrained import keep_fitted
from e2emern.model.progress import each_tenth
from e2emern.model.seen import Seen, add_seen, read_seen
from e2emern.model.training.calibrate import choosable, counts_of, read_fitted, tune_folder
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_vocabulary
from e2emern.tasks.resolve import check_model
from e2emern.tasks.training.gold import read_prepared
from e2emern.warehouse.wording import plural

Log = Callable[[str], None]


def finalize(
    model: Path,
    *,
    mesh: Path,
    corpus: Path,
    trained_on: Sequence[str],
    fit_on: Sequence[str],
    resolver_of: Path | None = None,
    near: float | None = None,
    device: str,
    log: Log,
) -> None:
    """Build the bank of a model folder and fit its resolver, unless they exist.

    Args:
        corpus: Parquet file with all splits.
        trained_on: splits in which the resolver counts the mentions of each concept and their words.
        fit_on: splits to fit on, without the documents that an ancestor was trained on; if empty, a missing resolver is
        only reported.
        resolver_of: a model whose span threshold and resolver are used instead of fitting; only the counts are
        computed again.
        near: the fitted span threshold must be close to this (`calibrate.NEAR`).

    Raises InputError if the vocabulary, the corpus or the other model cannot be used.
    """
    vocabulary = read_vocabulary(mesh)
    if read_bank(model, vocabulary) is None:
        log(f"encoding the names of MeSH {vocabulary.version}")
        build_bank(model, vocabulary, device=device, progress=each_tenth(log))
    if resolver_of is not None:
        fitted, known = read_resolver(resolver_of), read_seen(resolver_of)
        add_seen(model, known and Seen(fitted=known.all))
        counted = counts_of(read_prepared(corpus, splits=trained_on), vocabulary=vocabulary)
        taken = fitted | {"resolver": fitted["resolver"] | counted}
        if read_fitted(model) != taken:
            keep_fitted(model, taken)
    elif read_fitted(model) is not None:
        return
    elif not fit_on:
        log(f"{model}: no dev splits to fit the resolver on; take that of another model with --resolver-of")
    else:
        _fit(model, mesh=mesh, corpus=corpus, trained_on=trained_on, fit_on=fit_on, near=near, device=device, log=log)


def read_resolver(model: Path) -> dict[str, Any]:
    """Return the fitted threshold and resolver of a model. Raises InputError if it is invalid or not fitted."""
    check_model(model)
    try:
        fitted = read_fitted(model)
    except ValueError as error:
        raise InputError(str(error), path=model) from error
    if fitted is None:
        raise InputError("its resolver is not fitted; name a model that was trained without --with-dev", path=model)
    return fitted


def _fit(
    model: Path,
    *,
    mesh: Path,
    corpus: Path,
    trained_on: Sequence[str],
    fit_on: Sequence[str],
    near: float | None,
    device: str,
    log: Log,
) -> None:
    named = read_prepared(corpus, splits=fit_on)
    documents = choosable(model, named)
    if len(documents) < len(named):
        number = f"{len(named) - len(documents)} of {plural(len(named), 'document')} of {', '.join(fit_on)}"
        log(f"{number} are not fitted on: the model or an ancestor is trained on them")
    if not documents:
        log(f"{model}: nothing to fit the resolver on; take that of another model with --resolver-of")
        return
    log(f"fitting the resolver on {plural(len(documents), 'document')} of {', '.join(fit_on)}")
    fitted, validated = tune_folder(
        model, mesh=mesh, documents=documents, seen=read_prepared(corpus, splits=trained_on), near=near, device=device
    )
    if not fitted:
        log(f"{model} found nothing in them: its resolver is not fitted")
        return
    figures = ", ".join(f"{name} {100 * figure:.1f}" for name, figure in validated.items())
    log(f"span threshold {fitted['span_threshold']}; cross-validated accuracy@1: {figures}")
