"""Baselines without a network: look-up of the vocabulary's names, and TF-IDF over letter trigrams."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.evaluation.baselines import LookUp
from e2emern.model.vocabulary import Vocabulary, normalise


def dictionary_of(vocabulary: Vocabulary) -> LookUp:
    """Return a look-up of the vocabulary's names; for a shared name, a concept that prefers it, or the first."""
    ranked = sorted(
        (
            (place > 0, at, name)
            for at, concept in enumerate(vocabulary.concepts)
            for place, name in enumerate(concept.names)
        )
    )
    names = []
    for _, at, name in ranked:
        concept = vocabulary.concepts[at]
        mention = GoldMention(0, len(name), concept.entity_type, (concept.mesh_id,))
        names.append(GoldDocument("mesh", "names", concept.mesh_id, (concept.entity_type,), name, (), (), (mention,)))
    return LookUp(names, vocabulary)


class TfIdf:
    """Finds the name whose letter trigrams are most similar to those of the given words.

    The cosine of TF-IDF vectors (Salton and Buckley 1988), of trigrams in place of DNorm's words (Leaman et al. 2013)
    and without its learned matrix. Written by hand, since a training machine has no library for it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._index = {kind: _Index(vocabulary, kind) for kind in vocabulary.types}
        self.nearest = cache(self._nearest)

    def _nearest(self, words: str, entity_type: str) -> tuple[str | None, float]:
        """Return the concept of the nearest name of a type, and the cosine; (None, 0) if no trigram is shared."""
        index = self._index.get(entity_type)
        if index is None:
            return None, 0.0
        scores = index.cosines(words)
        best = int(scores.argmax())
        if scores[best] <= 0:
            return None, 0.0
        return self._vocabulary.concepts[int(index.owner[best])].mesh_id, float(scores[best])


class _Index:
    """The names of one type: for each trigram, the names that contain it, and its weight in each."""

    def __init__(self, vocabulary: Vocabulary, kind: str) -> None:
        concepts = vocabulary.slice_of(kind)
        names = slice(int(vocabulary.first_name[concepts.start]), int(vocabulary.first_name[concepts.stop]))
        self.owner = vocabulary.name_owner[names]
        self.number: dict[str, int] = {}
        grams, owners, counts = [], [], []
        for place, name in enumerate(vocabulary.names[names]):
            for gram, count in _trigrams(name).items():
                grams.append(self.number.setdefault(gram, len(self.number)))
                owners.append(place)
                counts.append(count)
        numbers, row = np.array(grams, np.int64), np.array(owners, np.int64)
        holders = np.bincount(numbers, minlength=len(self.number))
        self.idf = np.log((1 + len(self.owner)) / (1 + holders)) + 1
        weight = np.array(counts) * self.idf[numbers]
        length = np.sqrt(np.bincount(row, weight**2, minlength=len(self.owner)))
        order = np.argsort(numbers, kind="stable")
        self.row, self.weight = row[order], (weight / length[row])[order].astype(np.float32)
        self.first = np.concatenate([[0], np.cumsum(holders)])

    def cosines(self, words: str) -> np.ndarray:
        """Return the cosine of given words with every name: float32 (names,)."""
        scores = np.zeros(len(self.owner), np.float32)
        counts = {self.number[gram]: n for gram, n in _trigrams(words).items() if gram in self.number}
        weights = {gram: n * float(self.idf[gram]) for gram, n in counts.items()}
        length = sum(weight**2 for weight in weights.values()) ** 0.5
        for gram, weight in weights.items():
            mine = slice(self.first[gram], self.first[gram + 1])
            scores[self.row[mine]] += self.weight[mine] * (weight / length)
        return scores


def _trigrams(name: str) -> Counter[str]:
    padded = f" {normalise(name)} "
    return Counter(padded[at : at + 3] for at in range(len(padded) - 2))
