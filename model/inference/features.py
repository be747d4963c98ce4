"""The evidence for each concept that a group of spans may refer to, as numbers that `resolver` weighs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from e2emern.model.inference.candidates import Candidates
from e2emern.model.inference.grouping import Group
from e2emern.model.inference.segments import owners_of, reduce_runs
from e2emern.model.vocabulary import Vocabulary, normalise, normalised

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
    "unlikely",  # the low level proposes none of the spans: they are a listed name
    "marked",  # log-odds of the words being a mention in training text, if positive
    "unmarked",  # log-odds of the words not being one, if positive
)
LEAST_CONFIDENCE = 0.05  # minimum probability, at its best place in the document, of a span of the low level
COMPARED_NAMES = 4  # per concept, for the spelling; more cost time and add little
NO_DEPTH = 5


def features_of(
    groups: Sequence[Group],
    candidates: Candidates,
    *,
    mid: np.ndarray,
    high: np.ndarray,
    vocabulary: Vocabulary,
    prior: Mapping[str, float],
) -> np.ndarray:
    """Return the evidence for each candidate of groups: float32 (C, features).

    Args:
        mid, high: the scores of the levels, (C,).
        prior: how often a thousand training documents name each concept.
    """
    concepts, first = candidates.concepts, candidates.first
    owner = owners_of(first)
    known = _Known.of(groups, candidates, concepts=len(vocabulary.concepts))
    exact = np.array([group.found.match == "exact" for group in groups], bool)[owner]
    traits = _traits_of(vocabulary)[concepts]
    of_concept = np.zeros(len(vocabulary.concepts), np.float32)
    places = [vocabulary.position[mesh_id] for mesh_id in prior if mesh_id in vocabulary.position]
    of_concept[places] = [prior[vocabulary.concepts[at].mesh_id] for at in places]
    columns = {
        "exact_preferred": known.preferred & exact,
        "exact": known.named & exact,
        "variant": known.named & ~exact,
        "sole": known.named & np.array([_is_one(group, vocabulary) for group in groups], bool)[owner],
        "trained": known.trained / np.maximum(1, [sum(group.found.trained.values()) for group in groups])[owner],
        "often_trained": np.log1p(known.trained),
        "similarity": candidates.similarity,
        "lead": candidates.similarity - reduce_runs(np.maximum, candidates.similarity, first, empty=0.0)[owner],
        "likeness": candidates.likeness,
        "likeness_lead": candidates.likeness - reduce_runs(np.maximum, candidates.likeness, first, empty=0.0)[owner],
        "mid": mid,
        "high": high,
        "descriptor": traits[:, 0],
        "supplementary": traits[:, 1],
        "spelling": [
            1.0 if has_name else closest_spelling(groups[group].words, vocabulary.concepts[at].names[:COMPARED_NAMES])
            for group, at, has_name in zip(owner.tolist(), concepts.tolist(), known.named.tolist(), strict=True)
        ],
        "prior": np.log1p(of_concept[concepts]),
        "depth": traits[:, 2],
        "names": traits[:, 3],
        "head": known.head,
        "disease": np.array([group.entity_type == "Disease" for group in groups], bool)[owner],
    }
    return np.stack([np.asarray(columns[name], np.float32) for name in FEATURES], axis=1)


def none_features_of(groups: Sequence[Group], *, ner: np.ndarray) -> np.ndarray:
    """Return the evidence for "none of them" of each group: float32 (G, none features).

    Args:
        ner: greatest probability of the spans of each group, (G,).
    """
    bounded = np.clip(ner, 1e-4, 1 - 1e-4)
    marked = np.array([group.found.marked for group in groups])
    columns = {
        "bias": np.ones(len(groups)),
        "ner": np.log(bounded / (1 - bounded)),
        "unlikely": ner < LEAST_CONFIDENCE,
        "marked": np.maximum(0.0, marked),
        "unmarked": np.maximum(0.0, -marked),
    }
    return np.stack([np.asarray(columns[name], np.float32) for name in NONE_FEATURES], axis=1)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the words of a group say about each of its candidates, (C,) each."""

    named: np.ndarray  # bool, it has them as a name
    preferred: np.ndarray  # bool, as its preferred name
    head: np.ndarray  # bool, it matches the head noun
    trained: np.ndarray  # float32, training mentions with these words that mean it

    @classmethod
    def of(cls, groups: Sequence[Group], candidates: Candidates, *, concepts: int) -> _Known:
        """Look up the candidates in the findings for their groups; `concepts` is the size of the vocabulary."""
        keys = owners_of(candidates.first) * concepts + candidates.concepts  # ascending only by group
        order = np.argsort(keys)

        def spread(found: list[tuple[int, int, float]]) -> np.ndarray:
            values = np.zeros(len(keys), np.float32)
            if found and len(keys):
                groups, places, each = (np.array(column) for column in zip(*found, strict=True))
                wanted = groups * concepts + places
                at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
                hit = keys[at] == wanted
                values[at[hit]] = each[hit]
            return values

        each = [(at, group.found) for at, group in enumerate(groups)]
        return cls(
            spread([(at, concept, 1) for at, found in each for concept in found.named]) > 0,
            spread([(at, concept, best) for at, found in each for concept, best in found.named.items()]) > 0,
            spread([(at, concept, 1) for at, found in each for concept in found.heads]) > 0,
            spread([(at, concept, count) for at, found in each for concept, count in found.trained.items()]),
        )


def _is_one(group: Group, vocabulary: Vocabulary) -> bool:
    """Return whether the words name one concept, or several with the same preferred name."""
    named = group.found.named
    return len(named) == 1 or len({normalised(vocabulary.concepts[at].name) for at in named}) == 1


@lru_cache(maxsize=2)
def _traits_of(vocabulary: Vocabulary) -> np.ndarray:
    """Return, for each concept: is a descriptor, is a supplementary record, depth, log of its number of names.

    The shape is (concepts, 4), in float32.
    """
    return np.array(
        [
            (
                concept.record_type == "descriptor",
                concept.record_type == "supplementary",
                min((tree.count(".") for tree in concept.tree_numbers), default=NO_DEPTH),
                math.log(len(concept.names)),
            )
            for concept in vocabulary.concepts
        ],
        np.float32,
    )


@lru_cache(maxsize=200_000)
def closest_spelling(words: str, names: tuple[str, ...]) -> float:
    """Return the greatest `spelling` of words and any of the names."""
    mine = _trigrams(words)
    return max(2 * len(mine & other) / max(1, len(mine) + len(other)) for other in map(_trigrams, names))


def spelling(words: str, name: str) -> float:
    """Return the Dice coefficient of the letter trigrams of two normalised names, from 0 to 1 (Dice 1945)."""
    return closest_spelling(words, (name,))


@lru_cache(maxsize=50_000)
def _trigrams(name: str) -> frozenset[str]:
    padded = f" {normalise(name)} "
    return frozenset(map("".join, zip(padded, padded[1:], padded[2:], strict=False)))
