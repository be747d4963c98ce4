"""The spans of a chunk of documents after all levels, and the mentions that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from e2emern.model.document import Mention
from e2emern.model.inference.candidates import Candidates
from e2emern.model.inference.features import FEATURES
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.inference.segments import ranges_of, starts_of
from e2emern.model.tokenization import Window
from e2emern.model.vocabulary import Vocabulary

_Link = tuple[str | None, str | None, float | None, float | None, float | None, str | None]
_NONE: _Link = (None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Linked:
    """Spans in groups, the candidates of each group, and the evidence that the resolver weighs, (C, features)."""

    spans: Sequence[Span]
    groups: Sequence[Group]
    candidates: Candidates
    features: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """The greatest probability of the spans of each group, (G,)."""
        return np.array([max(self.spans[at].score for at in group.spans) for group in self.groups])

    def concepts_of(self, group: int) -> np.ndarray:
        """Return the candidates of a group, (K,)."""
        return self.candidates.concepts[self._of(group)]

    def features_of(self, group: int) -> np.ndarray:
        """Return the evidence for the candidates of a group, (K, features)."""
        return self.features[self._of(group)]

    def only(self, groups: Sequence[int]) -> Linked:
        """Return some of the groups."""
        first, chosen = self.candidates.first, np.array(groups, np.int64)
        lengths = (first[1:] - first[:-1])[chosen]
        kept = ranges_of(first[chosen], lengths)
        named = ("concepts", "rows", "similarity", "likeness")
        candidates = Candidates(starts_of(lengths), *(getattr(self.candidates, name)[kept] for name in named))
        return Linked(self.spans, [self.groups[at] for at in groups], candidates, self.features[kept])

    def _of(self, group: int) -> slice:
        return slice(int(self.candidates.first[group]), int(self.candidates.first[group + 1]))


@dataclass(frozen=True, slots=True)
class Choices:
    """What the resolver chose for each group.

    Attributes:
        kept: bool (G,), whether the spans of the group become mentions.
        places: int64 (G,), the position of its concept among the candidates; -1 for none.
        probability: (G,), of that concept.
        how: the kind of evidence for each place that is not -1, in order.
    """

    kept: np.ndarray
    places: np.ndarray
    probability: np.ndarray
    how: Sequence[str]

    def mentions(
        self, linked: Linked, windows: Sequence[Window], *, vocabulary: Vocabulary, documents: int
    ) -> list[list[Mention]]:
        """Return the mentions of each document, ordered by start.

        A span gives one mention for each concept it is linked to, or else one without a concept. A listed name within a
        span that becomes a mention becomes none.
        """
        taken = {
            (linked.spans[at].document, linked.spans[at].start, linked.spans[at].end)
            for group in compress(linked.groups, self.kept.tolist())
            for at in group.spans
        }
        found: list[dict[tuple[int, int, str, str | None], Mention]] = [{} for _ in range(documents)]
        linked_places = set()
        for group, keep, link in zip(linked.groups, self.kept.tolist(), self._links(linked, vocabulary), strict=True):
            if not keep:
                continue
            mesh_id, mesh_name, mid_score, high_score, link_score, how = link
            for span in (linked.spans[at] for at in group.spans):
                if span.around is not None and (span.document, *span.around) in taken:
                    continue
                if mesh_id is not None:
                    linked_places.add((span.document, span.start, span.end, span.entity_type))
                found[span.document][span.start, span.end, span.entity_type, mesh_id] = Mention(
                    start=span.start,
                    end=span.end,
                    text=span.text,
                    entity_type=span.entity_type,
                    sentence=windows[span.window].sentence,
                    ner_score=span.score,
                    mesh_id=mesh_id,
                    mesh_name=mesh_name,
                    mid_score=mid_score,
                    high_score=high_score,
                    link_score=link_score,
                    how=how,
                )
        return [
            sorted(
                (
                    mention
                    for (start, end, kind, mesh_id), mention in of_document.items()
                    if mesh_id is not None or (document, start, end, kind) not in linked_places
                ),
                key=lambda mention: (mention.start, mention.end),
            )
            for document, of_document in enumerate(found)
        ]

    def _links(self, linked: Linked, vocabulary: Vocabulary) -> list[_Link]:
        """Return what the mentions of each group say of their link: id, name, scores of mid, high and link, and how."""
        chosen = self.places >= 0
        places = self.places[chosen]
        concepts = [vocabulary.concepts[at] for at in linked.candidates.concepts[places].tolist()]
        logits, logged = (linked.features[places, FEATURES.index(name)] for name in ("mid", "high"))
        links = zip(
            [concept.mesh_id for concept in concepts],
            [concept.name for concept in concepts],
            (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist(),
            np.exp(logged).tolist(),
            self.probability[chosen].tolist(),
            self.how,
            strict=True,
        )
        return [next(links) if is_linked else _NONE for is_linked in chosen.tolist()]
