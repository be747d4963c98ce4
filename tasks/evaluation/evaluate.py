"""Evaluate models on gold files, and write the figures as JSON and Parquet, and a report in Markdown."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from e2emern.model.corpus import GoldDocument
from e2emern.model.evaluation.baselines import Bounds, find_bounds
from e2emern.model.evaluation.comparison import Comparison, compare, mean_and_range
from e2emern.model.evaluation.evaluate import PROTOCOLS, evaluate
from e2emern.model.evaluation.metrics import Evaluation, cutoff_rows, tidy_rows, write_figures
from e2emern.model.evaluation.report import write_report
from e2emern.model.evaluation.scores import Counts
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.files import write_text
from e2emern.model.progress import Progress, silent
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import load, read_versions, read_vocabulary
from e2emern.tasks.training.gold import describe_unknown_ids
from e2emern.warehouse.layout import Home

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The scores of models, with their lower and upper bounds.

    Attributes:
        models: one evaluation per seed, in the given order.
        comparison: with the other models, if any are given.
    """

    models: tuple[Evaluation, ...]
    bounds: Bounds
    comparison: Comparison | None

    @property
    def report(self) -> str:
        """The report, in Markdown."""
        return write_report(self.models, self.bounds, self.comparison)


def evaluate_models(
    models: Sequence[Path],
    gold: Sequence[GoldDocument],
    *,
    mesh: Path,
    home: Home,
    seen: Sequence[GoldDocument] = (),
    protocols: Sequence[str] = PROTOCOLS,
    slices: bool = False,
    against: Sequence[Path] = (),
    device: str = "auto",
    progress: Progress = silent,
    log: Callable[[str], None] = _log.warning,
) -> Evaluated:
    """Evaluate models that differ only in their seed, and compare them with others on the same documents.

    `seen` are the training documents: their strings give the floor, and define the slices of seen and unseen mentions.
    The counts of several seeds are summed before they are compared. An entity bank that has to be built is kept in
    `home`. `log` reports how many gold ids are not in the vocabulary.

    Raises InputError if a model or the vocabulary cannot be used, a protocol is unknown, slices lack `seen`, a model is
    given twice, or `home` is a file.
    """
    if home.root.is_file():
        raise InputError("is a file, expected a folder to write to", path=home.root)
    unknown = sorted(set(protocols) - set(PROTOCOLS))
    if unknown:
        raise InputError(f"unknown protocol {', '.join(unknown)}: expected {', '.join(PROTOCOLS)}")
    if slices and not seen:
        raise InputError("slices need the training documents; name them with --seen")
    for folders in (models, against):
        _check_seeds(folders, [read_versions(folder, mesh).model for folder in folders])
    vocabulary = read_vocabulary(mesh)
    if unknown_ids := describe_unknown_ids(gold, vocabulary):
        log(unknown_ids)
    slicer = Slicer.of(seen, canonical=vocabulary.canonical) if slices else Slicer.whole()

    def one(folder: Path) -> Evaluation:
        cascade = load(folder, mesh, home=home, device=device, progress=progress)
        return evaluate(cascade, gold, protocols=protocols, slicer=slicer, progress=progress)

    mine = tuple(one(folder) for folder in models)
    others = [one(folder) for folder in against]
    return Evaluated(
        models=mine,
        bounds=find_bounds(gold, vocabulary, seen=seen, slicer=slicer),
        comparison=compare(_pooled(others), _pooled(mine)) if others else None,
    )


def write_evaluation(found: Evaluated, folder: Path) -> None:
    """Write evaluation.parquet, report.md and evaluation.json into a folder."""
    rows = [row for model in found.models for row in tidy_rows(model, found.bounds)]
    write_figures(rows, folder / "evaluation.parquet")
    write_text(folder / "report.md", found.report)
    content = {
        "models": [
            {"model_version": model.model_version, "mesh_version": model.mesh_version} for model in found.models
        ],
        "omim": [
            {"corpus": corpus, "split": split, "ids": given, "unmapped": unmapped}
            for (corpus, split), (given, unmapped) in found.bounds.omim.items()
        ],
        "figures": rows,
        "cutoffs": [
            {"model_version": model.model_version} | row for model in found.models for row in cutoff_rows(model)
        ],
        "spread": _spread(rows) if len(found.models) > 1 else [],
        "comparison": _comparison_rows(found.comparison) if found.comparison else None,
    }
    write_text(folder / "evaluation.json", json.dumps(content, indent=1) + "\n")


def _check_seeds(folders: Sequence[Path], versions: Sequence[str]) -> None:
    first: dict[str, Path] = {}
    for folder, version in zip(folders, versions, strict=True):
        if version in first:
            raise InputError(f"{first[version]} and {folder} are the same model, {version}; name each seed once")
        first[version] = folder


def _pooled(evaluations: Sequence[Evaluation]) -> Counts:
    """Return the counts of several seeds, summed per document."""
    cells = set.intersection(*(set(evaluation.counts) for evaluation in evaluations))
    return {cell: np.sum([evaluation.counts[cell] for evaluation in evaluations], axis=0) for cell in cells}


_PLACE = ("corpus", "split", "protocol", "slice", "entity_type", "figure")


def _spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        values.setdefault(tuple(row[name] for name in _PLACE), []).append(row["value"])
    return [
        dict(zip(_PLACE, place, strict=True))
        | dict(zip(("mean", "least", "greatest"), mean_and_range(found), strict=True))
        | {"models": len(found)}
        for place, found in values.items()
    ]


def _comparison_rows(comparison: Comparison) -> dict[str, Any]:
    return {
        "overall": {protocol: asdict(difference) for protocol, difference in comparison.overall.items()},
        "cells": [asdict(cell) | asdict(difference) for cell, difference in comparison.cells.items()],
    }
