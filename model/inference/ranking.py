"""Rank the candidates of each mention: the concepts that its words could mean, with their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e2emern.model.document import Candidate, Mention
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.features import FEATURES, none_features_of
from e2emern.model.inference.linked import Linked

_MID, _HIGH = FEATURES.index("mid"), FEATURES.index("high")
_Place = tuple[int, int, int, str]  # document, start, end, type


def rank_candidates(
    linked: Linked, mentions: Sequence[Sequence[Mention]], *, cascade: Cascade, most: int
) -> list[list[tuple[Candidate, ...]]]:
    """Return the candidates of each mention of each document, most probable first.

    The first candidate of a linked mention is its own concept.

    Args:
        linked: returned by `Cascade.annotate_with_evidence` with the mentions.
        most: maximum candidates for each mention.
    """
    ranked: dict[_Place, list[tuple[Candidate, ...]]] = {}
    none = none_features_of(linked.groups, ner=linked.confidence) @ cascade.resolver.none_weights
    for at, group in enumerate(linked.groups):
        candidates = _rank(linked, at, cascade, none=float(none[at]))
        for span in (linked.spans[each] for each in group.spans):
            ranked.setdefault((span.document, span.start, span.end, span.entity_type), []).append(candidates)
    return [
        [_of(mention, ranked[document, mention.start, mention.end, mention.entity_type])[:most] for mention in found]
        for document, found in enumerate(mentions)
    ]


def _rank(linked: Linked, at: int, cascade: Cascade, *, none: float) -> tuple[Candidate, ...]:
    """Return all candidates of a group, most probable first; `none` is the utility of "none of them"."""
    features = linked.features_of(at)
    utilities = np.append(cascade.resolver.scores(features), none).astype(np.float64)
    shares = np.exp(utilities - utilities.max())
    shares /= shares.sum()
    concepts = [cascade.vocabulary.concepts[position] for position in linked.concepts_of(at).tolist()]
    order = np.argsort(-utilities[:-1], kind="stable")
    return tuple(
        Candidate(
            mesh_id=concepts[each].mesh_id,
            mesh_name=concepts[each].name,
            mid_score=float(1 / (1 + np.exp(-features[each, _MID].astype(np.float64)))),
            high_score=float(np.exp(features[each, _HIGH])),
            link_score=float(shares[each]),
        )
        for each in order.tolist()
    )


def _of(mention: Mention, ranked: Sequence[tuple[Candidate, ...]]) -> tuple[Candidate, ...]:
    """Return the candidates of the mention's group; the words of a composite belong to several groups."""
    if mention.mesh_id is None:
        return ranked[-1]
    return next(each for each in reversed(ranked) if each and each[0].mesh_id == mention.mesh_id)
