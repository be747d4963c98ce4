"""Scores predictions against gold documents, under protocols that cannot be fooled.

    ner        start, end and type all equal gold
    link       the concept given to a gold span is among its gold concepts (accuracy@1, recall@k of candidates)
    mention    span, type and concept all right
    document   distinct (document, type, concept) pairs

Missed gold is a false negative and an extra prediction a false positive everywhere. Predictions of a type
that a corpus does not annotate are not scored. Gold without a concept (-1) counts in `ner` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .corpus import GoldDocument
from .document import Mention

Canonical = Callable[[str], str]


@dataclass(slots=True)
class Score:
    """Counts of true positives, false positives and false negatives, and the figures they give."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __iadd__(self, other: Score) -> Score:
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


def score_ner(gold: GoldDocument, predicted: Iterable[Mention], *, entity_type: str) -> Score:
    """Strict spans of one type in one document."""
    return _compare(
        {(m.start, m.end) for m in gold.mentions if m.entity_type == entity_type},
        {(m.start, m.end) for m in predicted if m.entity_type == entity_type},
    )


def score_mention(gold: GoldDocument, predicted: Iterable[Mention], *, entity_type: str, canonical: Canonical) -> Score:
    """Spans with their concept: a gold span is found when one of its concepts is predicted for it.

    Every further concept that is not gold for the span is a false positive of its own.
    """
    wanted = {
        (m.start, m.end): {canonical(concept) for concept in m.concepts}
        for m in gold.mentions
        if m.entity_type == entity_type and m.concepts
    }
    given = {(m.start, m.end, m.mesh_id) for m in predicted if m.entity_type == entity_type and m.mesh_id}
    right = {(start, end) for start, end, concept in given if concept in wanted.get((start, end), ())}
    wrong = sum(concept not in wanted.get((start, end), ()) for start, end, concept in given)
    return Score(len(right), wrong, len(wanted) - len(right))


def score_document(
    gold: GoldDocument, predicted: Iterable[Mention], *, entity_type: str, canonical: Canonical
) -> Score:
    """Distinct concepts of one document; every part of a composite gold id is a concept of its own."""
    return _compare(
        {canonical(concept) for m in gold.mentions if m.entity_type == entity_type for concept in m.concepts},
        {m.mesh_id for m in predicted if m.entity_type == entity_type and m.mesh_id},
    )


def score_corpus(
    gold: Sequence[GoldDocument],
    predicted: Sequence[Sequence[Mention]],
    *,
    canonical: Canonical,
) -> dict[str, dict[str, list[Score]]]:
    """Scores of every document by protocol and type: `scores[protocol][entity_type][document]`."""
    scorers: Mapping[str, Callable[[GoldDocument, Sequence[Mention], str], Score]] = {
        "ner": lambda g, p, kind: score_ner(g, p, entity_type=kind),
        "mention": lambda g, p, kind: score_mention(g, p, entity_type=kind, canonical=canonical),
        "document": lambda g, p, kind: score_document(g, p, entity_type=kind, canonical=canonical),
    }
    types = sorted({kind for document in gold for kind in document.annotated_types})
    return {
        name: {
            kind: [
                scorer(document, mentions, kind) if kind in document.annotated_types else Score()
                for document, mentions in zip(gold, predicted, strict=True)
            ]
            for kind in types
        }
        for name, scorer in scorers.items()
    }


def total(scores: Iterable[Score]) -> Score:
    """The sum of the counts: micro-averaged figures."""
    summed = Score()
    for score in scores:
        summed += score
    return summed


def bootstrap(
    first: Sequence[Score], second: Sequence[Score], *, rounds: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Paired bootstrap over documents (Efron and Tibshirani 1993) of F1(first) - F1(second).

    Returns the mean difference and the bounds of its 95 % interval.
    """
    table = np.array([[(s.tp, s.fp, s.fn) for s in scores] for scores in (first, second)], np.int64)
    random = np.random.default_rng(seed)
    differences = []
    for _ in range(rounds):
        drawn = random.integers(table.shape[1], size=table.shape[1])
        (tp1, fp1, fn1), (tp2, fp2, fn2) = table[:, drawn].sum(1)
        differences.append(2 * tp1 / max(1, 2 * tp1 + fp1 + fn1) - 2 * tp2 / max(1, 2 * tp2 + fp2 + fn2))
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(np.mean(differences)), float(low), float(high)


def _compare(wanted: set[object], given: set[object]) -> Score:
    right = len(wanted & given)
    return Score(right, len(given) - right, len(wanted) - right)
