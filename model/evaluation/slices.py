"""The slices of an evaluation: mentions that are seen in training, abbreviated, composite, or refined.

Gold and predicted mentions are labelled by the same rules, so a wrong prediction counts against the slice that it seems
to belong to. A mention without a concept is in neither slice of concepts.

    string seen / unseen    whether training annotates these words (case, accents and punctuation folded) as this type
    concept seen / unseen   whether training annotates all of its concepts; under `document`, the pair's own
    abbreviation            the words are a short form that the document defines
    composite               the span names several concepts
    refined                 the words are unseen, and it is their first mention in the split (Sung et al. 2020, BioSyn)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from e2emern.model.corpus import GoldDocument
from e2emern.model.document import Mention
from e2emern.model.vocabulary import normalise

ALL = "all"
SLICES = (
    "string seen",
    "string unseen",
    "concept seen",
    "concept unseen",
    "abbreviation",
    "composite",
    "refined",
)
Labels = frozenset[str]

_EVERYWHERE: Labels = frozenset({ALL})
_OF_CONCEPTS: Labels = frozenset({"concept seen", "concept unseen"})


@dataclass(frozen=True, slots=True)
class Slicer:
    """Labels mentions with the slices they belong to.

    Attributes:
        names: the slices, including ALL.
        strings: the words that training annotates, with their type.
        concepts: the concepts that training annotates.
    """

    names: tuple[str, ...]
    strings: frozenset[tuple[str, str]]
    concepts: frozenset[str]
    canonical: Callable[[str], str]

    @classmethod
    def whole(cls) -> Slicer:
        """Make a slicer without slices: every mention belongs to `all`."""
        return cls((ALL,), frozenset(), frozenset(), str)

    @classmethod
    def of(cls, seen: Sequence[GoldDocument], *, canonical: Callable[[str], str]) -> Slicer:
        """Make a slicer with all slices, from the training documents."""
        return cls(
            (ALL, *SLICES),
            frozenset((m.entity_type, normalise(d.text[m.start : m.end])) for d in seen for m in d.mentions),
            frozenset(canonical(concept) for d in seen for m in d.mentions for concept in m.concepts),
            canonical,
        )

    def of_gold(self, gold: Sequence[GoldDocument]) -> list[list[Labels]]:
        """Return the labels of every gold mention of every document."""
        if len(self.names) == 1:
            return [[_EVERYWHERE] * len(document.mentions) for document in gold]
        before: set[tuple[str, ...]] = set()
        return [
            [
                self._labels(
                    document,
                    (m.entity_type, normalise(document.text[m.start : m.end])),
                    document.text[m.start : m.end],
                    m.concepts,
                    m.composite,
                    before,
                )
                for m in document.mentions
            ]
            for document in gold
        ]

    def of_predicted(self, gold: Sequence[GoldDocument], predicted: Sequence[Sequence[Mention]]) -> list[list[Labels]]:
        """Return the labels of every predicted mention of every document."""
        if len(self.names) == 1:
            return [[_EVERYWHERE] * len(mentions) for mentions in predicted]
        before: set[tuple[str, ...]] = set()
        labels = []
        for document, mentions in zip(gold, predicted, strict=True):
            concepts = Counter((m.start, m.end, m.entity_type) for m in mentions)
            labels.append(
                [
                    self._labels(
                        document,
                        (m.entity_type, normalise(m.text)),
                        m.text,
                        (m.mesh_id,) if m.mesh_id else (),
                        concepts[m.start, m.end, m.entity_type] > 1,
                        before,
                    )
                    for m in mentions
                ]
            )
        return labels

    def narrowed(self, labels: Labels, concept: str) -> Labels:
        """Return the labels of a mention for one of its concepts, which is seen or unseen by itself."""
        if "concept seen" not in self.names:
            return labels
        return labels - _OF_CONCEPTS | {self._familiar((concept,))}

    @staticmethod
    def settled(labels: Labels) -> Labels:
        """Return the labels without "unseen" if the same item is also "seen"."""
        overruled = {f"{what} unseen" for what in ("string", "concept") if f"{what} seen" in labels}
        return labels - overruled if overruled else labels

    def _familiar(self, concepts: Sequence[str]) -> str:
        return "concept seen" if self.concepts.issuperset(map(self.canonical, concepts)) else "concept unseen"

    def _labels(
        self,
        document: GoldDocument,
        string: tuple[str, str],
        words: str,
        concepts: Sequence[str],
        composite: bool,
        before: set[tuple[str, ...]],
    ) -> Labels:
        known = string in self.strings
        labels = {ALL, "string seen" if known else "string unseen"}
        if concepts:
            labels.add(self._familiar(concepts))
        if any(words == short for short, _ in document.abbreviations):
            labels.add("abbreviation")
        if composite:
            labels.add("composite")
        place = (document.corpus, document.split, *string)
        if not known and place not in before:
            labels.add("refined")
        before.add(place)
        return frozenset(labels)
