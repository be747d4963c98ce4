"""Compares two models by a paired bootstrap over documents (Efron and Tibshirani 1993).

Both models are counted on the same documents. Documents are drawn with replacement within each split, the same draws
for both models and for all cells of the split, and the figure of each draw is that of the summed counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from e2emern.model.evaluation.scores import Cell, Counts
from e2emern.model.evaluation.slices import ALL

ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of two models, and the 95 % interval of challenger - champion.

    The figure is F1; for `link` and `recall@k`, which have no false positives, the share of gold that is correct.
    """

    champion: float
    challenger: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Challenger minus champion."""
        return self.challenger - self.champion

    @property
    def better(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether the interval lies below zero."""
        return self.high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same documents.

    Attributes:
        cells: the difference in every cell that both models are counted on.
        overall: by protocol, the difference of the mean over corpora, splits and types, whole documents.
        pooled: by protocol, the difference of the mean over types, each from the counts of all corpora together, so
        that every document has the same weight.
    """

    cells: dict[Cell, Difference]
    overall: dict[str, Difference]
    pooled: dict[str, Difference]


def compare(champion: Counts, challenger: Counts, *, rounds: int = ROUNDS, seed: int = 0) -> Comparison:
    """Compare two models by their counts of the same documents.

    Raises:
        ValueError: a split has another number of documents for one model than for the other, or the models share no
            cell.
    """
    shared = sorted(champion.keys() & challenger.keys())
    if not shared:
        raise ValueError("found no corpus, split and protocol that both models are counted on")
    draws = _Draws(rounds, seed)
    sampled: dict[Cell, tuple[np.ndarray, np.ndarray]] = {}
    cells = {}
    for cell in shared:
        first, second = champion[cell], challenger[cell]
        if len(first) != len(second):
            raise ValueError(f"{cell.corpus}/{cell.split}: found {len(first)} and {len(second)} documents")
        weights = draws.of(cell, len(first))
        sampled[cell] = figure(weights @ first, cell.protocol), figure(weights @ second, cell.protocol)
        cells[cell] = _difference(
            float(figure(first.sum(0), cell.protocol)), float(figure(second.sum(0), cell.protocol)), *sampled[cell]
        )
    overall, pooled = {}, {}
    for protocol in dict.fromkeys(cell.protocol for cell in shared):
        mine = [cell for cell in shared if cell.protocol == protocol and cell.slice == ALL]
        if mine:
            overall[protocol] = _mean_difference([cells[cell] for cell in mine], [sampled[cell] for cell in mine])
            pooled[protocol] = _pooled_difference(mine, champion, challenger, draws)
    return Comparison(cells, overall, pooled)


def intervals(counts: Counts, *, rounds: int = ROUNDS, seed: int = 0) -> dict[Cell, tuple[float, float]]:
    """Return the 95 % interval of the main figure of each cell: percentiles of a bootstrap over documents."""
    draws = _Draws(rounds, seed)
    found = {}
    for cell, mine in counts.items():
        low, high = np.quantile(figure(draws.of(cell, len(mine)) @ mine, cell.protocol), [0.025, 0.975])
        found[cell] = float(low), float(high)
    return found


class _Draws:
    """How often each document of a split is drawn: the same draws for all cells of the split."""

    def __init__(self, rounds: int, seed: int) -> None:
        self._rounds, self._seed = rounds, seed
        self._drawn: dict[tuple[str, str], np.ndarray] = {}

    def of(self, cell: Cell, documents: int) -> np.ndarray:
        """Return the draws of a cell's split, int64 (rounds, documents)."""
        split = (cell.corpus, cell.split)
        if split not in self._drawn:  # a seed for each split, so that other splits change nothing
            random = np.random.default_rng((self._seed, crc32("/".join(split).encode())))
            chances = np.full(documents, 1 / documents)
            self._drawn[split] = random.multinomial(documents, chances, size=self._rounds)
        return self._drawn[split]


UNAIDED = "accuracy@1 without training strings"
"""The figure of `link` without looking up training strings, as in published figures."""


def figure(counts: np.ndarray, protocol: str) -> np.ndarray:
    """Return the main figure of counts (..., 3): F1, or for given spans the share that is correct; 0 without counts."""
    tp, fp, fn = (counts[..., column] for column in range(3))
    if is_of_given_spans(protocol):
        return np.asarray(tp / np.maximum(1, tp + fn))
    return np.asarray(2 * tp / np.maximum(1, 2 * tp + fp + fn))


def mean_figure(counts: Counts) -> float:
    """Return the mean of the main figures of all cells; 0 without any."""
    return float(np.mean([figure(each.sum(0), cell.protocol) for cell, each in counts.items()])) if counts else 0.0


def is_of_given_spans(protocol: str) -> bool:
    """Return whether the gold spans are given, so that false positives cannot occur: `link`, recall@k and the like."""
    return protocol in ("link", UNAIDED) or protocol.startswith("recall@")


def mean_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean, minimum and maximum over seeds."""
    return float(np.mean(values)), min(values), max(values)


def _difference(champion: float, challenger: float, first: np.ndarray, second: np.ndarray) -> Difference:
    low, high = np.quantile(second - first, [0.025, 0.975])
    return Difference(champion, challenger, float(low), float(high))


def _mean_difference(differences: Sequence[Difference], sampled: Sequence[tuple[np.ndarray, np.ndarray]]) -> Difference:
    first, second = (np.mean([each[at] for each in sampled], axis=0) for at in (0, 1))
    champion = float(np.mean([each.champion for each in differences]))
    challenger = float(np.mean([each.challenger for each in differences]))
    return _difference(champion, challenger, first, second)


def _pooled_difference(cells: Sequence[Cell], champion: Counts, challenger: Counts, draws: _Draws) -> Difference:
    """Compare two models on cells of one protocol; those of a type are counted together."""
    differences, sampled = [], []
    for kind in dict.fromkeys(cell.entity_type for cell in cells):
        mine = [cell for cell in cells if cell.entity_type == kind]
        whole, drawn = [], []
        for counts in (champion, challenger):
            total = np.sum([counts[cell].sum(0) for cell in mine], axis=0)
            whole.append(float(figure(total, mine[0].protocol)))
            each = np.sum([draws.of(cell, len(counts[cell])) @ counts[cell] for cell in mine], axis=0)
            drawn.append(figure(each, mine[0].protocol))
        differences.append(_difference(whole[0], whole[1], drawn[0], drawn[1]))
        sampled.append((drawn[0], drawn[1]))
    return _mean_difference(differences, sampled)
