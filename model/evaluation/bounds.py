"""What a figure stands between: the floor of look-up, and the ceiling that the vocabulary sets.

The floor finds the words that training annotates, longest first, and gives each the concept that training gives it
most often. The ceiling is gold itself, without the concepts that the vocabulary does not hold. Both are predictors
like any model, and scored by the same rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..corpus import GoldDocument, GoldMention
from ..document import Mention
from ..notation import is_omim
from ..vocabulary import Vocabulary, normalise
from .scores import Counts, count, count_links
from .slices import Slicer

DEPTHS = (1, 4, 8, 16, 64)  # how many of the best candidates are looked at for recall@k

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the figures of any model on some documents stand between.

    Attributes:
        floor: counts of looking up the strings of the training documents; empty where none are given.
        ceiling: counts of gold as far as the vocabulary holds its concepts.
        exact_match: counts of looking up gold spans among the names of the vocabulary; protocol `link` only.
        omim: by (corpus, split), how many gold ids are OMIM's, and how many of these map to no MeSH record.
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
    """The floor and the ceiling of any model on these documents.

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

    remembered = links(lambda d, m: [memory.concept_of(words(d, m), m.entity_type) or ""])
    held = links(
        lambda d, m: [c for c in map(canonical, m.concepts) if c in vocabulary.position][:1],
        {"link": 1} | {f"recall@{depth}": depth for depth in DEPTHS},
    )
    splits = sorted({(document.corpus, document.split) for document in documents})
    return Bounds(
        floor=(found(memory.annotate) | remembered) if seen else {},
        ceiling=found(lambda d: oracle(d, vocabulary)) | held,
        exact_match=links(lambda d, m: [exact_match(words(d, m), m.entity_type, vocabulary) or ""]),
        omim={
            split: unmapped_omim([d for d in documents if (d.corpus, d.split) == split], vocabulary) for split in splits
        },
    )


class LookUp:
    """The strings of training documents, with their commonest first concept.

    Args:
        seen: the documents to remember.
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
        """The concept remembered for these words; None for words not seen, or seen without a concept."""
        return self._concept.get((entity_type, normalise(words)))

    def annotate(self, document: GoldDocument) -> list[Mention]:
        """The remembered strings that stand in the sentences of a document, longest first from the left."""
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
    """Gold as predictions: one for each concept that the vocabulary holds, else one without a concept."""
    mentions = []
    for m in document.mentions:
        concepts = dict.fromkeys(vocabulary.canonical(concept) for concept in m.concepts)
        held: list[str | None] = [concept for concept in concepts if concept in vocabulary.position]
        for concept in held or [None]:
            words = document.text[m.start : m.end]
            mentions.append(Mention(m.start, m.end, words, m.entity_type, 0, 1.0, concept))
    return mentions


def exact_match(words: str, entity_type: str, vocabulary: Vocabulary) -> str | None:
    """The baseline of names: the concept that bears these words, a preferred name and a smaller id first."""
    how, found = vocabulary.look_up(words, entity_type=entity_type)
    if how != "exact":
        return None
    return vocabulary.concepts[min(found, key=lambda at: (not found[at], vocabulary.concepts[at].mesh_id))].mesh_id


def unmapped_omim(documents: Sequence[GoldDocument], vocabulary: Vocabulary) -> tuple[int, int]:
    """How many gold ids of all mentions are OMIM's, and how many of these map to no MeSH record."""
    given = [concept for d in documents for m in d.mentions for concept in m.concepts if is_omim(concept)]
    return len(given), sum(not vocabulary.canonical(concept).startswith(("C", "D")) for concept in given)


def _commonest(found: Counter[str | None]) -> str | None:
    """The commonest concept, the first seen of equals; None only where none was ever given."""
    return max((concept for concept in found if concept is not None), key=lambda one: found[one], default=None)
