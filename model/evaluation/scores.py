"""Scores predictions against gold documents, under protocols that count every error.

    ner        start, end and type all equal gold
    link       the concept given to a gold span is among its gold concepts
    recall@k   one of the best k candidates of a gold span is
    mention    span, type and concept all right
    document   distinct (document, type, concept) pairs

Identifiers of gold and predictions are compared in the vocabulary's form (`Vocabulary.canonical`): one that MeSH has
replaced is its successor. Missed gold is a false negative and an extra prediction a false positive everywhere.
Predictions of a type that a corpus does not annotate are not scored. Gold without a concept (-1) counts in `ner` only.
Counts are kept for each document: they can be summed, sliced and resampled later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Mention
from e2emern.model.evaluation.slices import ALL, Labels, Slicer

Canonical = Callable[[str], str]
Key = TypeVar("Key")
Given = Sequence[tuple[Mention, Labels]]
Wanted = Sequence[tuple[GoldMention, Labels]]
Ranking = Sequence[str]  # concepts given to a gold span, best first


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of true positives, false positives and false negatives, and the figures they give."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """The key of a set of counts."""

    corpus: str
    split: str
    protocol: str
    slice: str
    entity_type: str


Counts = dict[Cell, np.ndarray]  # int64 (documents of the split, 3): tp, fp and fn of each, in the order of the split


@dataclass(slots=True)
class Verdict:
    """The correct, wrong and missed items of one type in one document, each by its slices."""

    right: list[Labels] = field(default_factory=list)
    wrong: list[Labels] = field(default_factory=list)
    missed: list[Labels] = field(default_factory=list)


def judge_ner(wanted: Wanted, given: Given, canonical: Canonical, slicer: Slicer) -> Verdict:
    """Judge strict spans."""
    return _compare(
        _united(((m.start, m.end), labels) for m, labels in wanted),
        _united(((m.start, m.end), labels) for m, labels in given),
    )


def judge_mention(wanted: Wanted, given: Given, canonical: Canonical, slicer: Slicer) -> Verdict:
    """Judge spans with their concept: a gold span is found if one of its concepts is predicted for it.

    Every further concept that is not gold for the span is a separate false positive.
    """
    concepts: dict[tuple[int, int], set[str]] = {}
    for m, _ in wanted:
        if m.concepts:
            concepts.setdefault((m.start, m.end), set()).update(map(canonical, m.concepts))
    labels_of = _united(((m.start, m.end), labels) for m, labels in wanted if m.concepts)
    found = _united(((m.start, m.end, canonical(m.mesh_id)), labels) for m, labels in given if m.mesh_id)
    right = {(start, end) for start, end, concept in found if concept in concepts.get((start, end), ())}
    return Verdict(
        [labels for span, labels in labels_of.items() if span in right],
        [labels for (start, end, concept), labels in found.items() if concept not in concepts.get((start, end), ())],
        [labels for span, labels in labels_of.items() if span not in right],
    )


def judge_document(wanted: Wanted, given: Given, canonical: Canonical, slicer: Slicer) -> Verdict:
    """Judge distinct concepts; each part of a composite gold id is a separate concept, seen or unseen by itself."""
    return _compare(
        _united(
            (canonical(concept), slicer.narrowed(labels, concept)) for m, labels in wanted for concept in m.concepts
        ),
        _united((canonical(m.mesh_id), labels) for m, labels in given if m.mesh_id),
    )


JUDGES: Mapping[str, Callable[[Wanted, Given, Canonical, Slicer], Verdict]] = {
    "ner": judge_ner,
    "mention": judge_mention,
    "document": judge_document,
}


def count(
    gold: Sequence[GoldDocument],
    predicted: Sequence[Sequence[Mention]],
    *,
    canonical: Canonical,
    protocols: Iterable[str] = tuple(JUDGES),
    slicer: Slicer | None = None,
) -> Counts:
    """Count correct results in every document under the protocols for raw text, in total and by slice."""
    slicer = slicer or Slicer.whole()
    wanted = slicer.of_gold(gold)
    given = slicer.of_predicted(gold, predicted)
    tally = Tally(gold, slices=slicer.names)
    for at, document in enumerate(gold):
        for kind in document.annotated_types:
            mine = [(m, labels) for m, labels in zip(document.mentions, wanted[at], strict=True)
                    if m.entity_type == kind]  # fmt: skip
            found = [(m, labels) for m, labels in zip(predicted[at], given[at], strict=True)
                     if m.entity_type == kind]  # fmt: skip
            for protocol in protocols:
                tally.add(protocol, at, kind, JUDGES[protocol](mine, found, canonical, slicer))
    return tally.counts


def count_links(
    gold: Sequence[GoldDocument],
    rankings: Sequence[Sequence[Ranking]],
    *,
    canonical: Canonical,
    depths: Mapping[str, int],
    slicer: Slicer | None = None,
) -> Counts:
    """Count the gold spans of every document that were linked correctly.

    Args:
        rankings: for each document, the concepts given to each of its mentions.
        depths: the number of best concepts that count, by protocol: `{"link": 1}`.
    """
    slicer = slicer or Slicer.whole()
    tally = Tally(gold, slices=slicer.names)
    for at, (document, labelled) in enumerate(zip(gold, slicer.of_gold(gold), strict=True)):
        for kind in document.annotated_types:
            for protocol, depth in depths.items():
                verdict = Verdict()
                for mention, labels, ranking in zip(document.mentions, labelled, rankings[at], strict=True):
                    if mention.entity_type == kind and mention.concepts:
                        right = not set(map(canonical, mention.concepts)).isdisjoint(map(canonical, ranking[:depth]))
                        (verdict.right if right else verdict.missed).append(labels)
                tally.add(protocol, at, kind, verdict)
    return tally.counts


class Tally:
    """Verdicts, added up to counts for each cell and document."""

    def __init__(self, gold: Sequence[GoldDocument], *, slices: Sequence[str] = (ALL,)) -> None:
        self.counts: Counts = {}
        self.slices = slices
        self._sizes: dict[tuple[str, str], int] = {}
        self._place: list[tuple[str, str, int]] = []
        for document in gold:
            split = (document.corpus, document.split)
            self._place.append((*split, self._sizes.get(split, 0)))
            self._sizes[split] = self._sizes.get(split, 0) + 1

    def add(self, protocol: str, document: int, entity_type: str, verdict: Verdict) -> None:
        """Add the verdict on a type in a document, given by its position in gold."""
        corpus, split, row = self._place[document]
        for name in self.slices:
            cell = Cell(corpus, split, protocol, name, entity_type)
            if cell not in self.counts:
                self.counts[cell] = np.zeros((self._sizes[corpus, split], 3), np.int64)
            for column, items in enumerate((verdict.right, verdict.wrong, verdict.missed)):
                self.counts[cell][row, column] += sum(name in labels for labels in items)


def summed(counts: np.ndarray) -> Score:
    """Return the score of counts (documents, 3)."""
    return Score(*(int(value) for value in counts.sum(0)))


def _united(items: Iterable[tuple[Key, Labels]]) -> dict[Key, Labels]:
    """Return the labels of each key, merged over its items; "seen" in one overrules "unseen" in another."""
    found: dict[Key, Labels] = {}
    for key, labels in items:
        found[key] = found[key] | labels if key in found else labels
    return {key: Slicer.settled(labels) for key, labels in found.items()}


def _compare(wanted: dict[Key, Labels], given: dict[Key, Labels]) -> Verdict:
    return Verdict(
        [labels for key, labels in wanted.items() if key in given],
        [labels for key, labels in given.items() if key not in wanted],
        [labels for key, labels in wanted.items() if key not in given],
    )
