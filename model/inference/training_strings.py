"""Count the strings that training documents use for concepts, and the names that they leave unmarked.

A string that training annotates is the best evidence for its concept. A name of the vocabulary that training often
leaves unmarked ("death", "water") is rarely a mention. These counts ship with the model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2emern.model.corpus import GoldDocument
from e2emern.model.inference.listed_names import ListedNames, runs_of_words
from e2emern.model.spelling import american
from e2emern.model.vocabulary import Vocabulary, bag_of_words

LEAST_SHARE = 0.1  # minimum share of a string's mentions for a concept to be kept

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class TrainingStrings:
    """Counts of the training documents, by entity type and words as `fold` returns them.

    Attributes:
        meant: by type and words, the number of mentions of each concept; concepts with a small share are left out.
        occurrences: by type and words, how often they are a mention, and how often not.
    """

    meant: Mapping[str, Counts] = field(default_factory=dict)
    occurrences: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Sequence[GoldDocument], *, vocabulary: Vocabulary) -> TrainingStrings:
        """Count the strings of training documents; a short form counts as the long form that its document gives."""
        meant: dict[str, dict[str, Counter[str]]] = {}
        marked: dict[str, Counter[str]] = {}
        for document in documents:
            long_forms = dict(document.abbreviations)
            for mention in document.mentions:
                words = document.text[mention.start : mention.end]
                marked.setdefault(mention.entity_type, Counter())[fold(words)] += 1
                if not mention.composite:
                    key = fold(long_forms.get(words, words))
                    counts = meant.setdefault(mention.entity_type, {}).setdefault(key, Counter())
                    counts.update(vocabulary.canonical(concept) for concept in mention.concepts)
        return cls(_frequent(meant, vocabulary), _occurrences(documents, marked, ListedNames(vocabulary)))

    def concepts(self, words: str, *, entity_type: str) -> Mapping[str, int]:
        """Return how many mentions with these words mean each concept."""
        return self.meant.get(entity_type, {}).get(fold(words), {})

    def marked(self, words: str, *, entity_type: str) -> float:
        """Return the log-odds of the words being a mention of the type in training text; 0 for words not seen."""
        yes, no = self.occurrences.get(entity_type, {}).get(fold(words), (0, 0))
        return math.log((yes + 0.5) / (no + 0.5))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TrainingStrings:
        """Read what `to_dict` returned."""
        occurrences = {
            kind: {words: (yes, no) for words, (yes, no) in found.items()}
            for kind, found in stored["occurrences"].items()
        }
        return cls(stored["meant"], occurrences)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, for the configuration."""
        occurrences = {
            kind: {words: list(pair) for words, pair in one.items()} for kind, one in self.occurrences.items()
        }
        meant = {kind: {words: dict(counts) for words, counts in one.items()} for kind, one in self.meant.items()}
        return {"meant": meant, "occurrences": occurrences}


def fold(words: str) -> str:
    """Return words without case, accents, plural, order and British spelling."""
    return bag_of_words(american(words.lower()))


def _frequent(meant: Mapping[str, Mapping[str, Counter[str]]], vocabulary: Vocabulary) -> dict[str, Counts]:
    return {
        kind: {
            words: kept
            for words, counts in sorted(found.items())
            if words
            and (
                kept := {
                    concept: count
                    for concept, count in sorted(counts.items())
                    if concept in vocabulary.position and count >= LEAST_SHARE * counts.total()
                }
            )
        }
        for kind, found in sorted(meant.items())
    }


def _occurrences(
    documents: Sequence[GoldDocument], marked: Mapping[str, Counter[str]], listed: ListedNames
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return how often annotated strings and listed names are a mention, and how often not.

    Words within a longer string of these are not counted; nor are they in documents that do not annotate the type.
    """
    unmarked: dict[str, Counter[str]] = {kind: Counter() for kind in marked}
    for document in documents:
        for kind in document.annotated_types:
            known = marked.get(kind, Counter())
            covered = [(m.start, m.end) for m in document.mentions if m.entity_type == kind]
            for start, end, words in _known(document, kind, known, listed):
                if not any(start < right and left < end for left, right in covered):
                    unmarked.setdefault(kind, Counter())[words] += 1
    return {
        kind: {
            words: (marked.get(kind, Counter())[words], counts[words])
            for words in sorted({*counts, *marked.get(kind, ())})
            if words
        }
        for kind, counts in sorted(unmarked.items())
    }


def _known(
    document: GoldDocument, kind: str, known: Mapping[str, int], listed: ListedNames
) -> Iterator[tuple[int, int, str]]:
    """Yield the longest annotated strings or listed names in each sentence, from left to right."""
    for sentence in document.sentences:
        free = 0
        for start, end, folded in runs_of_words(sentence.text):
            if start >= free and ((words := fold(folded)) in known or listed.is_listed(folded, kind)):
                free = end
                yield sentence.start + start, sentence.start + end, words
