"""Baselines: the floor of a look-up, and the ceiling that the vocabulary sets.

The floor finds the strings that training annotates, longest first, and gives each its most frequent concept there. The
ceiling is gold itself, without the concepts that the vocabulary lacks. Both are scored like any model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from e2emern.model.corpus import GoldDocument, GoldMention
from e2emern.model.document import Mention
from e2emern.model.evaluation.scores import Counts, count, count_links
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.notation import is_omim
from e2emern.model.vocabulary import Vocabulary, normalise

DEPTHS = (1, 4, 8, 16, 64)  # the values of k for recall@k

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The floor and ceiling of any model on some documents.

    Attributes:
        floor: counts of looking up the strings of the training documents; empty without any.
        ceiling: counts of gold with the concepts that are in the vocabulary.
        exact_match: counts of looking up gold spans among the names of the vocabulary; protocol `link` only.
        omim: by (corpus, split), the number of gold ids that are OMIM's, and how many of them map to no MeSH record.
    """

    floor: Counts
    ceiling: Counts
    exact_match: Counts
    omim: dict[tuple[str, str], tuple[int, int]]


def find_bounds(
    documents: Sequence[GoldDocument],
    vocabulary: Vocabulary,
    *,
    seen: Sequence[GoldDocument] = (),
    slicer: Slicer | None = None,
) -> Bounds:
    """Return the floor and the ceiling of any model on these documents.

    Args:
        seen: the training documents, whose strings the floor looks up.
    """
    canonical = vocabulary.canonical
    memory = LookUp(seen, vocabulary)

    def links(
        ask: Callable[[GoldDocument, GoldMention], list[str]], depths: Mapping[str, int] = MappingProxyType({"link": 1})
    ) -> Counts:
        rankings = [[ask(document, mention) for mention in document.mentions] for document in documents]
        return count_links(documents, rankings, canonical=canonical, depths=depths, slicer=slicer)

    def found(predict: Callable[[GoldDocument], list[Mention]]) -> Counts:
        return count(documents, [predict(document) for document in documents], canonical=canonical, slicer=slicer)

    def words(document: GoldDocument, mention: GoldMention) -> str:
        return document.text[mention.start : mention.end]

    looked_up = links(lambda d, m: [memory.concept_of(words(d, m), m.entity_type) or ""])
    held = links(
        lambda d, m: [c for c in map(canonical, m.concepts) if c in vocabulary.position][:1],
        {"link": 1} | {f"recall@{depth}": depth for depth in DEPTHS},
    )
    splits = sorted({(document.corpus, document.split) for document in documents})
    return Bounds(
        floor=(found(memory.annotate) | looked_up) if seen else {},
        ceiling=found(lambda d: oracle(d, vocabulary)) | held,
        exact_match=links(lambda d, m: [exact_match(words(d, m), m.entity_type, vocabulary) or ""]),
        omim={
            split: unmapped_omim([d for d in documents if (d.corpus, d.split) == split], vocabulary) for split in splits
        },
    )


class LookUp:
    """The strings of training documents, with their most frequent first concept.

    Args:
        seen: the training documents.
    """

    def __init__(self, seen: Sequence[GoldDocument], vocabulary: Vocabulary) -> None:
        counts: dict[tuple[str, str], Counter[str | None]] = {}
        for document in seen:
            for m in document.mentions:
                key = (m.entity_type, normalise(document.text[m.start : m.end]))
                concept = vocabulary.canonical(m.concepts[0]) if m.concepts else None
                counts.setdefault(key, Counter())[concept] += 1
        self._concept = {key: _commonest(found) for key, found in counts.items()}
        self._types = sorted({kind for kind, _ in counts})
        self._longest = max((len(words.split()) for _, words in counts), default=0)

    def concept_of(self, words: str, entity_type: str) -> str | None:
        """Return the concept of these words in training; None if they were not seen, or only without a concept."""
        return self._concept.get((entity_type, normalise(words)))

    def annotate(self, document: GoldDocument) -> list[Mention]:
        """Return the occurrences of training strings in a document, from left to right, longest first."""
        return [mention for at in range(len(document.sentences)) for mention in self._in_sentence(document, at)]

    def _in_sentence(self, document: GoldDocument, at: int) -> Iterator[Mention]:
        sentence = document.sentences[at]
        spans = [match.span() for match in _WORD.finditer(sentence.text)]
        first = 0
        while first < len(spans):
            for last in range(min(len(spans), first + self._longest), first, -1):
                words = sentence.text[spans[first][0] : spans[last - 1][1]]
                key = normalise(words)
                kind = next((kind for kind in self._types if key and (kind, key) in self._concept), None)
                if kind is not None:
                    start = sentence.start + spans[first][0]
                    yield Mention(start, start + len(words), words, kind, at, 1.0, self._concept[kind, key])
                    first = last
                    break
            else:
                first += 1


def oracle(document: GoldDocument, vocabulary: Vocabulary) -> list[Mention]:
    """Return gold as predictions: one for each concept in the vocabulary, or one without a concept."""
    mentions = []
    for m in document.mentions:
        concepts = dict.fromkeys(vocabulary.canonical(concept) for concept in m.concepts)
        held: list[str | None] = [concept for concept in concepts if concept in vocabulary.position]
        for concept in held or [None]:
            words = document.text[m.start : m.end]
            mentions.append(Mention(m.start, m.end, words, m.entity_type, 0, 1.0, concept))
    return mentions


def exact_match(words: str, entity_type: str, vocabulary: Vocabulary) -> str | None:
    """Return the concept with this name, preferred names and smaller ids first; None if there is none."""
    how, found = vocabulary.look_up(words, entity_type=entity_type)
    if how != "exact":
        return None
    return vocabulary.concepts[min(found, key=lambda at: (not found[at], vocabulary.concepts[at].mesh_id))].mesh_id


def unmapped_omim(documents: Sequence[GoldDocument], vocabulary: Vocabulary) -> tuple[int, int]:
    """Return the number of gold ids, over all mentions, that are OMIM's, and how many of them map to no MeSH record."""
    given = [concept for d in documents for m in d.mentions for concept in m.concepts if is_omim(concept)]
    return len(given), sum(not vocabulary.canonical(concept).startswith(("C", "D")) for concept in given)


def _commonest(found: Counter[str | None]) -> str | None:
    """Return the most frequent concept, on a tie the first one seen; None if there is none."""
    return max((concept for concept in found if concept is not None), key=lambda one: found[one], default=None)
