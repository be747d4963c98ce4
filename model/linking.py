"""Resolves spans to concepts: gathers the evidence for each candidate and weighs it.

Spans of one document that stand for the same words are one group: repeats of a string agree, and an
abbreviation is looked up by its long form (Schwartz and Hearst 2003). A group's candidates are the
concepts that bear its very words as a name, and the best of the whole bank. The evidence of the three
levels, the words and the vocabulary is combined by a conditional logit (McFadden 1974) over candidates and
"none of them", fitted on development documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .vocabulary import Vocabulary, normalise

FEATURES = (
    "exact_preferred",  # the words are the concept's preferred name
    "exact",  # they are one of its names
    "variant",  # they are, but for plural and word order
    "sole",  # no other concept of the type bears them
    "similarity",  # best score of a name under the candidate search
    "lead",  # that score less the best of all candidates
    "mid",  # logit of the mid level, best sentence
    "high",  # log-probability of the words under the high level, best mention
    "descriptor",
    "supplementary",
    "spelling",  # how many letter trigrams the words share with the concept's likest name
)
COMPARED_NAMES = 20  # of a concept, for the spelling; a few have hundreds
NONE_FEATURES = ("bias", "ner")  # of the choice "none of them": 1, and the log-odds of the span


@dataclass(frozen=True, slots=True)
class Span:
    """Words of a document to be linked, with where the model can read them."""

    document: int
    start: int
    end: int
    text: str
    entity_type: str
    score: float  # probability of the low level
    window: int  # position among the windows
    first: int  # words first..last of the window
    last: int


@dataclass(slots=True)
class Group:
    """The spans of a document that are linked as one, their candidates and the evidence."""

    words: str  # what is looked up: the long form, or the span's own words
    entity_type: str
    spans: list[int]
    match: str = "none"  # how the words agree with a name: exact, variant or none
    named: dict[int, bool] = field(default_factory=dict)  # concepts that bear the words, and as preferred name
    concepts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # candidates (K,)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # bank row of each one's best name
    similarity: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    mid: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    high: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Link:
    """What a group was resolved to: the candidate's place in the group, its probability and the evidence."""

    place: int
    score: float
    how: str


def group_spans(spans: Sequence[Span], *, abbreviations: Sequence[dict[str, str]]) -> list[Group]:
    """Groups spans by document, type and words, an abbreviation counting as its long form."""
    groups: dict[tuple[int, str, str], Group] = {}
    for at, span in enumerate(spans):
        words = abbreviations[span.document].get(span.text, span.text)
        key = (span.document, span.entity_type, normalise(words) or words)
        groups.setdefault(key, Group(words, span.entity_type, [])).spans.append(at)
    return list(groups.values())


def features_of(group: Group, *, vocabulary: Vocabulary) -> np.ndarray:
    """The evidence for each candidate of a group: float32 (K, features)."""
    table = np.zeros((len(group.concepts), len(FEATURES)), np.float32)
    for row, concept in enumerate(group.concepts.tolist()):
        if concept in group.named:
            exact = group.match == "exact"
            table[row, 0] = exact and group.named[concept]
            table[row, 1] = exact
            table[row, 2] = not exact
            table[row, 3] = len(group.named) == 1
        kind = vocabulary.concepts[concept].record_type
        table[row, 8] = kind == "descriptor"
        table[row, 9] = kind == "supplementary"
        names = vocabulary.concepts[concept].names[:COMPARED_NAMES]
        table[row, 10] = 1.0 if concept in group.named else max(spelling(group.words, name) for name in names)
    if len(table):
        table[:, 4] = group.similarity
        table[:, 5] = group.similarity - group.similarity.max()
        table[:, 6] = group.mid
        table[:, 7] = group.high
    return table


def spelling(words: str, name: str) -> float:
    """Dice coefficient of the letter trigrams of two normalised names, from 0 to 1 (Dice 1945)."""
    mine, other = _trigrams(words), _trigrams(name)
    return 2 * len(mine & other) / max(1, len(mine) + len(other))


@lru_cache(maxsize=20_000)
def _trigrams(name: str) -> frozenset[str]:
    padded = f" {normalise(name)} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))


class Resolver:
    """Weighs the evidence: P(c) = exp(w . x_c) / (exp(v . z) + sum over candidates of exp(w . x)).

    The weights are data, kept in the model's configuration, so that one file says what decides.
    """

    def __init__(self, *, weights: dict[str, float], none_weights: dict[str, float]) -> None:
        self.weights = np.array([weights[name] for name in FEATURES], np.float32)
        self.none_weights = np.array([none_weights[name] for name in NONE_FEATURES], np.float32)

    @classmethod
    def unfitted(cls) -> Resolver:
        """Weights for a model whose resolver has not been fitted: words first, then similarity, never none."""
        weights = dict.fromkeys(FEATURES, 0.0) | {"exact": 6.0, "exact_preferred": 1.0, "variant": 4.0, "lead": 1.0}
        return cls(weights=weights | {"mid": 0.1, "high": 0.1}, none_weights={"bias": -20.0, "ner": 0.0})

    def to_dict(self) -> dict[str, dict[str, float]]:
        """The weights by name, for the configuration."""
        return {
            "weights": {name: round(float(w), 4) for name, w in zip(FEATURES, self.weights, strict=True)},
            "none_weights": {
                name: round(float(w), 4) for name, w in zip(NONE_FEATURES, self.none_weights, strict=True)
            },
        }

    def inclined(self, shift: float) -> Resolver:
        """The same weights, with "none of them" likelier by `shift` in log-odds."""
        weights = self.to_dict()
        return Resolver(
            weights=weights["weights"],
            none_weights=weights["none_weights"] | {"bias": weights["none_weights"]["bias"] + shift},
        )

    def resolve(self, features: np.ndarray, *, ner: float, allow_none: bool = True) -> tuple[int, float] | None:
        """The best candidate's place and probability; None without candidates, or where none is likelier."""
        if not len(features):
            return None
        scores = features @ self.weights
        none = float(_none_features(ner) @ self.none_weights)
        best = int(scores.argmax())
        if allow_none and none > scores[best]:
            return None
        top = max(float(scores[best]), none)
        total = float(np.exp(scores - top).sum()) + float(np.exp(none - top))
        return best, float(np.exp(scores[best] - top)) / total

    def evidence(self, features: np.ndarray, place: int) -> str:
        """Which evidence decided: the one whose removal would change the choice, else the heaviest for it.

        One of `name` (the very words), `variant` (plural or order), `spelling` (trigrams), `bank` (similarity),
        `mid` and `high`.
        """
        against = np.delete(features, place, axis=0)
        margin = features[place] - (against[(against @ self.weights).argmax()] if len(against) else 0.0)
        weight = margin * self.weights
        shares = {
            "name": weight[[0, 1, 3]].sum() if features[place, 1] else 0.0,
            "variant": weight[[2, 3]].sum() if features[place, 2] else 0.0,
            "spelling": weight[10],
            "bank": weight[[4, 5]].sum(),
            "mid": weight[6],
            "high": weight[7],
        }
        return max(shares, key=lambda name: float(shares[name]))

    @classmethod
    def fit(
        cls, examples: Sequence[tuple[np.ndarray, float, np.ndarray]], *, decay: float = 0.02, steps: int = 200
    ) -> Resolver:
        """Maximises the likelihood of the right choices (L-BFGS, weights decayed towards zero).

        Args:
            examples: per group its features (K, features), the probability of its spans, and bool (K,) the
                right candidates; all False where "none of them" is right.
        """
        widest = max(len(features) for features, _, _ in examples)
        table = torch.zeros(len(examples), widest, len(FEATURES))
        live = torch.zeros(len(examples), widest, dtype=torch.bool)
        right = torch.zeros(len(examples), widest + 1, dtype=torch.bool)
        none = torch.zeros(len(examples), len(NONE_FEATURES))
        for row, (features, ner, correct) in enumerate(examples):
            table[row, : len(features)] = torch.from_numpy(features)
            live[row, : len(features)] = True
            right[row, : len(features)] = torch.from_numpy(correct)
            right[row, -1] = not correct.any()
            none[row] = torch.from_numpy(_none_features(ner))
        weights = torch.zeros(len(FEATURES), requires_grad=True)
        none_weights = torch.zeros(len(NONE_FEATURES), requires_grad=True)
        optimizer = torch.optim.LBFGS([weights, none_weights], max_iter=steps, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            scores = (table @ weights).masked_fill(~live, -torch.inf)
            logits = torch.cat([scores, (none @ none_weights).unsqueeze(1)], 1).log_softmax(1)
            likelihood = logits.masked_fill(~right, -torch.inf).logsumexp(1).mean()
            value = -likelihood + decay * (weights.square().sum() + none_weights.square().sum()) / 100
            value.backward()
            return value

        optimizer.step(loss)
        return cls(
            weights=dict(zip(FEATURES, weights.tolist(), strict=True)),
            none_weights=dict(zip(NONE_FEATURES, none_weights.tolist(), strict=True)),
        )


def _none_features(ner: float) -> np.ndarray:
    bounded = min(max(ner, 1e-4), 1 - 1e-4)
    return np.array([1.0, np.log(bounded / (1 - bounded))], np.float32)
