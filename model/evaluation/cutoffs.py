"""Precision and recall if only links with at least some score are kept, and the reliability of scores.

Two protocols of `model.evaluation.scores` are counted at each cut-off, `mention` and `document`; a link below the
cut-off counts as missed. A reliability curve compares the mean score of a bin of links with the share of them that is
correct (Niculescu-Mizil and Caruana, ICML 2005); the bins hold only links of gold spans in `link`, all in `mention`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from e2emern.model.corpus import GoldDocument
from e2emern.model.document import Mention
from e2emern.model.evaluation.scores import Canonical, Score, count, summed

CUTOFFS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
PROTOCOLS = ("mention", "document")
BINS = 10  # of scores, from 0 to 1
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The counts of one type if only links with at least `min_score` are kept."""

    corpus: str
    split: str
    entity_type: str
    protocol: str
    min_score: float
    score: Score


@dataclass(frozen=True, slots=True)
class Bin:
    """Links of one type with scores in the interval [low, high); the last bin includes 1."""

    corpus: str
    split: str
    entity_type: str
    protocol: str  # link or mention
    low: float
    high: float
    links: int
    right: int
    mean_score: float


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of at least one trial (Wilson 1927)."""
    share, squared = hits / trials, _Z * _Z
    middle = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + squared / (4 * trials * trials)) / (1 + squared / trials)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class ByScore:
    """Counts at each cut-off of the link score, and the bins of links for reliability."""

    cutoffs: tuple[Cutoff, ...]
    bins: tuple[Bin, ...]


def by_score(gold: Sequence[GoldDocument], predicted: Sequence[Sequence[Mention]], *, canonical: Canonical) -> ByScore:
    """Count correct links at each of `CUTOFFS`, and in each bin; scores are compared as float32, as stored."""
    return ByScore(
        tuple(_cutoffs(gold, predicted, canonical)),
        tuple(_bins(gold, predicted, canonical)),
    )


def _cutoffs(
    gold: Sequence[GoldDocument], predicted: Sequence[Sequence[Mention]], canonical: Canonical
) -> Iterator[Cutoff]:
    for least in CUTOFFS:
        kept = [[one for one in mentions if one.mesh_id and _score(one) >= np.float32(least)] for mentions in predicted]
        for cell, counts in count(gold, kept, canonical=canonical, protocols=PROTOCOLS).items():
            yield Cutoff(cell.corpus, cell.split, cell.entity_type, cell.protocol, least, summed(counts))


def _bins(gold: Sequence[GoldDocument], predicted: Sequence[Sequence[Mention]], canonical: Canonical) -> Iterator[Bin]:
    sums: dict[tuple[str, str, str, str], np.ndarray] = {}  # float64 (BINS, 3): links, right, sum of scores
    for document, mentions in zip(gold, predicted, strict=True):
        concepts: dict[tuple[int, int, str], set[str]] = {}
        for wanted in document.mentions:
            if wanted.concepts:
                place = (wanted.start, wanted.end, wanted.entity_type)
                concepts.setdefault(place, set()).update(map(canonical, wanted.concepts))
        for one in mentions:
            if one.entity_type not in document.annotated_types or not one.mesh_id:
                continue
            mine = concepts.get((one.start, one.end, one.entity_type))
            right = mine is not None and canonical(one.mesh_id) in mine
            row = [1.0, float(right), float(_score(one))]
            for protocol in ("mention",) if mine is None else ("mention", "link"):
                key = (document.corpus, document.split, one.entity_type, protocol)
                counted = sums.setdefault(key, np.zeros((BINS, 3)))
                counted[min(int(_score(one) * BINS), BINS - 1)] += row
    for key, counted in sorted(sums.items()):
        for at, (links, right_ones, total) in enumerate(counted.tolist()):
            if links:
                yield Bin(*key, at / BINS, (at + 1) / BINS, int(links), int(right_ones), total / links)


def _score(mention: Mention) -> np.float32:
    return np.float32(mention.link_score or 0.0)
