"""The evidence for each concept that a group of spans may refer to, as numbers that `resolver` weighs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from e2emern.model.inference.grouping import Group
from e2emern.model.vocabulary import Vocabulary, normalise

FEATURES = (
    "exact_preferred",  # the words are the concept's preferred name
    "exact",  # they are one of its names
    "variant",  # they are, except for plural and word order
    "sole",  # no other concept of the type has that name, or only one of the same preferred name: OMIM repeats diseases
    "trained",  # share of the training mentions with these words that mean the concept
    "often_trained",  # log of 1 + how many these are
    "similarity",  # best score of a name against the words in their sentences
    "lead",  # that score minus the best of all candidates
    "likeness",  # cosine of the encoded words and the nearest name
    "likeness_lead",  # that cosine minus the best of all candidates
    "mid",  # logit of the mid level, best sentence
    "high",  # log-probability of the words under the high level, best mention
    "descriptor",  # the concept is a descriptor
    "supplementary",  # it is a supplementary record
    "spelling",  # share of letter trigrams that the words have in common with the concept's nearest name
    "prior",  # log of 1 + how often a thousand training documents name the concept
    "depth",  # of its highest place in the trees; 5 without any
    "names",  # log of how many it has
    "head",  # the words are not a name, but end with one of its names, as "DOX cardiomyopathy" does
    "disease",  # the entity type is Disease
)
NONE_FEATURES = (
    "bias",  # 1
    "ner",  # log-odds of the spans
    "unlikely",  # the low level proposes none of them: they are a listed name
    "marked",  # log-odds of the words being a mention in training text, if positive
    "unmarked",  # those of their being none, if positive
)
LEAST_CONFIDENCE = 0.05  # probability, at its best place in the document, of a span that the low level proposes
COMPARED_NAMES = 4  # of a concept, for the spelling; more cost time and add little
NO_DEPTH = 5


def features_of(group: Group, *, vocabulary: Vocabulary, prior: Mapping[str, float]) -> np.ndarray:
    """Return the evidence for each candidate of a group: float32 (K, features).

    Args:
        prior: how often a thousand training documents name each concept.
    """
    count = len(group.concepts)
    if not count:
        return np.zeros((0, len(FEATURES)), np.float32)
    concepts = [vocabulary.concepts[at] for at in group.concepts.tolist()]
    named = np.array([at in group.named for at in group.concepts.tolist()])
    exact = group.match == "exact"
    kinds = np.array([concept.record_type for concept in concepts])
    preferred_names = {normalise(vocabulary.concepts[at].name) for at in group.named}
    trained = np.array([group.trained.get(at, 0) for at in group.concepts.tolist()], np.float32)
    columns = {
        "exact_preferred": [exact and group.named.get(at, False) for at in group.concepts.tolist()],
        "exact": named & exact,
        "variant": named & (not exact),
        "sole": named & (len(preferred_names) == 1),
        "trained": trained / max(1, sum(group.trained.values())),
        "often_trained": np.log1p(trained),
        "similarity": group.similarity,
        "lead": group.similarity - group.similarity.max(),
        "likeness": group.likeness,
        "likeness_lead": group.likeness - group.likeness.max(),
        "mid": group.mid,
        "high": group.high,
        "descriptor": kinds == "descriptor",
        "supplementary": kinds == "supplementary",
        "spelling": [
            1.0 if has_name else max(spelling(group.words, name) for name in concept.names[:COMPARED_NAMES])
            for has_name, concept in zip(named, concepts, strict=True)
        ],
        "prior": [np.log1p(prior.get(concept.mesh_id, 0)) for concept in concepts],
        "depth": [min((tree.count(".") for tree in concept.tree_numbers), default=NO_DEPTH) for concept in concepts],
        "names": [np.log(len(concept.names)) for concept in concepts],
        "head": [at in group.heads for at in group.concepts.tolist()],
        "disease": [group.entity_type == "Disease"] * count,
    }
    return np.stack([np.asarray(columns[name], np.float32) for name in FEATURES], axis=1)


def none_features_of(group: Group, *, ner: float) -> np.ndarray:
    """Return the evidence for "none of them": float32 (none features,).

    Args:
        ner: greatest probability of the group's spans.
    """
    bounded = min(max(ner, 1e-4), 1 - 1e-4)
    columns = {
        "bias": 1.0,
        "ner": np.log(bounded / (1 - bounded)),
        "unlikely": float(ner < LEAST_CONFIDENCE),
        "marked": max(0.0, group.marked),
        "unmarked": max(0.0, -group.marked),
    }
    return np.array([columns[name] for name in NONE_FEATURES], np.float32)


def spelling(words: str, name: str) -> float:
    """Return the Dice coefficient of the letter trigrams of two normalised names, from 0 to 1 (Dice 1945)."""
    mine, other = _trigrams(words), _trigrams(name)
    return 2 * len(mine & other) / max(1, len(mine) + len(other))


@lru_cache(maxsize=20_000)
def _trigrams(name: str) -> frozenset[str]:
    padded = f" {normalise(name)} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))
