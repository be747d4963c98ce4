"""The report of an evaluation: figures with intervals, reliability of scores, precision and recall by minimum score.

It also has the learning curves of the models, and the attention of the mid level over the words of examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2emern.flows.charts import Curve, Place
from e2emern.flows.report import render
from e2emern.model.evaluation.comparison import intervals, is_of_given_spans
from e2emern.model.evaluation.cutoffs import Bin, Cutoff, wilson
from e2emern.model.evaluation.metrics import Evaluation, bound
from e2emern.model.evaluation.scores import Cell, Counts, Score, summed
from e2emern.model.evaluation.slices import ALL
from e2emern.tasks.evaluation.attention import attention_in_examples
from e2emern.tasks.evaluation.evaluate import Evaluated
from e2emern.warehouse.registry.models import learning_curve

_Split = tuple[str, str]


def evaluation_report(found: Evaluated, folders: Sequence[Path] = (), *, device: str = "cpu") -> str:
    """Return the report; counts of several seeds are summed, and intervals are of a bootstrap over documents.

    Args:
        folders: of the models, for their learning curves and the attention of the first; by default these are left out.

    Raises:
        WarehouseError: a learning curve is damaged.
    """
    counts = _summed(found.models)
    between = intervals(counts)
    rows = [_row(cell, counts[cell], between[cell], found) for cell in sorted(counts) if counts[cell].any()]
    splits = list(dict.fromkeys((cell.corpus, cell.split) for cell in sorted(counts)))
    return render(
        "evaluation.html",
        title="Evaluation",
        versions=[model.model_version for model in found.models],
        mesh_version=found.models[0].mesh_version,
        splits=[_split(split, rows, found.models, counts) for split in splits],
        comparison=found.comparison,
        learning={
            model.model_version: [(str(one["epoch"]), one["f1"]) for one in learning_curve(folder)]
            for model, folder in zip(found.models, folders, strict=False)
        },
        attention=[
            {"concept": one.concept, "words": _heated(one.words)}
            for folder in folders[:1]
            for one in attention_in_examples(folder, device=device)
        ],
    )


def _heated(words: Sequence[tuple[str, float]]) -> list[tuple[str, int, float]]:
    """Return words with the class of their colour, from 0 to 9, and their attention."""
    most = max((weight for _, weight in words), default=0.0) or 1.0
    return [(word, round(9 * weight / most), weight) for word, weight in words]


def _split(split: _Split, rows: list[dict[str, Any]], models: Sequence[Evaluation], counts: Counts) -> dict[str, Any]:
    mine = [row for row in rows if row["split"] == split]
    scored = [one.by_score for one in models if one.by_score]
    cutoffs = [one for each in scored for one in each.cutoffs if (one.corpus, one.split) == split]
    bins = [one for each in scored for one in each.bins if (one.corpus, one.split) == split]
    return {
        "name": "/".join(split),
        "documents": next(len(each) for cell, each in counts.items() if (cell.corpus, cell.split) == split),
        "whole": [row for row in mine if row["slice"] == ALL],
        "sliced": [row for row in mine if row["slice"] != ALL and not row["protocol"].startswith("recall@")],
        "reliability": {name: list(_reliability(bins, name)) for name in ("link", "mention")},
        "tradeoff": {name: list(_tradeoff(cutoffs, name)) for name in ("mention", "document")},
    }


def _row(cell: Cell, counts: np.ndarray, between: tuple[float, float], found: Evaluated) -> dict[str, Any]:
    score = summed(counts)
    given = is_of_given_spans(cell.protocol)
    name = "accuracy@1" if cell.protocol == "link" else cell.protocol if given else "f1"
    return {
        "split": (cell.corpus, cell.split),
        "slice": cell.slice,
        "protocol": cell.protocol,
        "entity_type": cell.entity_type,
        "gold": score.tp + score.fn,
        "precision": None if given else score.precision,
        "recall": None if given else score.recall,
        "value": score.recall if given else score.f1,
        "low": between[0],
        "high": between[1],
        "floor": bound(found.bounds.floor, cell, name),
        "ceiling": bound(found.bounds.ceiling, cell, name),
    }


def _reliability(bins: Sequence[Bin], protocol: str) -> Iterator[Curve]:
    """Yield a curve for each type: the mean score of each bin, and the share of its links that is right."""
    for kind in sorted({one.entity_type for one in bins}):
        places = []
        for low in sorted({one.low for one in bins}):
            mine = [one for one in bins if (one.entity_type, one.protocol, one.low) == (kind, protocol, low)]
            links, right = sum(one.links for one in mine), sum(one.right for one in mine)
            if links:
                mean = sum(one.mean_score * one.links for one in mine) / links
                about = f"mean score {mean:.3f}, {right:,} of {links:,} links are right"
                places.append(Place(mean, right / links, about, *wilson(right, links)))
        if places:
            yield Curve(kind, places)


def _tradeoff(cutoffs: Sequence[Cutoff], protocol: str) -> Iterator[Curve]:
    """Yield a curve for each type: recall and precision at each minimum score."""
    for kind in sorted({one.entity_type for one in cutoffs}):
        places = []
        for least in sorted({one.min_score for one in cutoffs}):
            mine = [
                one.score
                for one in cutoffs
                if (one.entity_type, one.protocol, one.min_score) == (kind, protocol, least)
            ]
            score = Score(sum(one.tp for one in mine), sum(one.fp for one in mine), sum(one.fn for one in mine))
            if score.tp:
                about = f"minimum score {least:g}: precision {score.precision:.1%}, recall {score.recall:.1%}"
                places.append(Place(score.recall, score.precision, about))
        if places:
            yield Curve(kind, places)


def _summed(models: Sequence[Evaluation]) -> Counts:
    cells = set.intersection(*(set(model.counts) for model in models))
    return {cell: np.sum([model.counts[cell] for model in models], axis=0) for cell in cells}
