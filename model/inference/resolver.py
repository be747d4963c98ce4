"""Weighs the evidence of `features`, and chooses one of a group's candidates or none of them.

A conditional logit (McFadden 1974) over the candidates and "none of them". The utility is linear in the evidence plus a
few hidden units, since the levels matter more if no name matches. The weights are data in the model's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from e2emern.model.inference.features import FEATURES, NONE_FEATURES
from e2emern.model.inference.segments import best_of_runs, owners_of, reduce_runs, starts_of
from e2emern.model.inference.training_strings import TrainingStrings
from e2emern.model.version import STRINGS

EVIDENCE = {
    "name": ("exact_preferred", "exact", "sole"),
    "training": ("trained", "often_trained"),
    "variant": ("variant",),
    "head": ("head",),
    "spelling": ("spelling",),
    "likeness": ("likeness", "likeness_lead"),
    "bank": ("similarity", "lead"),
    "mid": ("mid",),
    "high": ("high",),
    "prior": ("prior", "depth", "names", "descriptor", "supplementary"),
}
"""The kinds of evidence that decide a link (`how`), and their features."""

OFTEN = 3.0  # the prior of a concept that 19 of 1,000 training documents name; chosen on dev
NEVER = 50.0  # utility by which a choice is ruled out
_OF_KIND = np.array([[name in names for name in FEATURES] for names in EVIDENCE.values()])
_EXACT, _SOLE, _PRIOR, _TRAINED = (FEATURES.index(name) for name in ("exact", "sole", "prior", "trained"))

Example = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A group's features (K, features), those of "none of them" (none features,), and the correct candidates, bool (K,)."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """P(c) = exp(u(x_c)) / (exp(v . z) + sum over candidates of exp(u(x))), u(x) = w . x + b . tanh(A x + a).

    Attributes:
        weights: w, (features,).
        none_weights: v, (none features,).
        hidden: A, (units, features), and its bias a, (units,).
        output: b, (units,).
        prior: how often a thousand training documents name each concept.
        strings: what the training documents call the concepts.
        given: utility of "none of them" for a span that is known to be a mention.
    """

    weights: np.ndarray
    none_weights: np.ndarray
    hidden: np.ndarray = field(default_factory=lambda: np.zeros((0, len(FEATURES)), np.float32))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    output: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    prior: Mapping[str, float] = field(default_factory=dict)
    strings: TrainingStrings = field(default_factory=TrainingStrings)
    given: float = -NEVER

    @classmethod
    def unfitted(cls) -> Resolver:
        """Return weights for a model without a fitted resolver: names first, then similarity, never "none"."""
        chosen = {"exact": 6.0, "exact_preferred": 1.0, "variant": 4.0, "lead": 1.0, "mid": 0.1, "high": 0.1}
        weights = np.array([chosen.get(name, 0.0) for name in FEATURES], np.float32)
        return cls(weights, np.array([-20.0, *[0.0] * (len(NONE_FEATURES) - 1)], np.float32))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Resolver:
        """Read what `to_dict` returned.

        Raises:
            ValueError: the features differ: another version of this module fitted the resolver; or the training
                strings are missing.
        """
        expected = {"weights", "none_weights", "hidden", "prior", "strings", "given"}
        if stored.keys() == expected - {"strings"}:
            raise ValueError(f"the model has no {STRINGS}, which its resolver uses; copy the whole folder")
        if (
            stored.keys() != expected
            or stored["weights"].keys() != set(FEATURES)
            or stored["none_weights"].keys() != set(NONE_FEATURES)
        ):
            raise ValueError(
                "the resolver was fitted for other features than this version has; "
                "run python -m e2emern.model.training.calibrate"
            )
        return cls(
            weights=np.array([stored["weights"][name] for name in FEATURES], np.float32),
            none_weights=np.array([stored["none_weights"][name] for name in NONE_FEATURES], np.float32),
            hidden=np.array(
                [[unit["weights"][name] for name in FEATURES] for unit in stored["hidden"]], np.float32
            ).reshape(-1, len(FEATURES)),
            bias=np.array([unit["bias"] for unit in stored["hidden"]], np.float32),
            output=np.array([unit["output"] for unit in stored["hidden"]], np.float32),
            prior=dict(stored["prior"]),
            strings=TrainingStrings.from_dict(stored["strings"]),
            given=stored["given"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the weights by name, for the configuration."""
        return {
            "weights": _named(FEATURES, self.weights),
            "none_weights": _named(NONE_FEATURES, self.none_weights),
            "hidden": [
                {"weights": _named(FEATURES, row), "bias": _rounded(bias), "output": _rounded(output)}
                for row, bias, output in zip(self.hidden, self.bias, self.output, strict=True)
            ],
            "prior": dict(self.prior),
            "strings": self.strings.to_dict(),
            "given": _rounded(self.given),
        }

    def inclined(self, shift: float) -> Resolver:
        """Return the same weights, with "none of them" more probable by `shift` in log-odds."""
        shifts = np.array([shift, *[0.0] * (len(NONE_FEATURES) - 1)], np.float32)
        return replace(self, none_weights=self.none_weights + shifts)

    def scores(self, features: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
        """Return the utility u of each candidate: (C, features) to (C,).

        Words that are the name of only one concept mean that concept, whatever the other evidence, unless the training
        documents often name a rival, or call a rival by these words: "male infertility" is not the better known female
        one.

        Args:
            first: int64 (G + 1,), the first candidate of each group, and their number; those of one group if None.
        """
        first = starts_of([len(features)]) if first is None else first
        units: np.ndarray = np.tanh(features @ self.hidden.T + self.bias) @ self.output
        return _ruled(features @ self.weights + units, features, first)

    def resolve(
        self, features: np.ndarray, first: np.ndarray, *, none_features: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each group's best candidate, a position among all or -1, and its probability, (G,) each.

        It is -1 for a group without candidates, and if "none of them" is more probable.

        Args:
            none_features: the evidence for "none of them", (G, none features); None for spans known to be mentions.
        """
        scores = self.scores(features, first)
        best = best_of_runs(scores, first)
        groups = len(best)
        none = np.full(groups, self.given) if none_features is None else none_features @ self.none_weights
        greatest = reduce_runs(np.maximum, scores, first, empty=-np.inf)
        top = np.maximum(greatest, none)
        shares = reduce_runs(np.add, np.exp(scores - top[owners_of(first)]), first, empty=0.0)
        probability = np.exp(greatest - top) / (shares + np.exp(none - top))
        return np.where(none > greatest, -1, best), probability

    def evidence(self, features: np.ndarray, first: np.ndarray, chosen: np.ndarray) -> list[str]:
        """Return, for each choice, the kind of evidence (a key of `EVIDENCE`) that most favours it over its rival.

        The rival is the next best candidate of the group; that of a single candidate has no evidence.

        Args:
            chosen: the positions of the choices, at most one of a group.
        """
        others = np.ones(len(features), bool)
        others[chosen] = False
        groups = owners_of(first)[chosen]
        against = features[others]
        left = np.append(0, np.cumsum(others))[first]
        rivals = best_of_runs(self.scores(against, left), left)[groups]
        mine = features[chosen]
        rival = np.zeros_like(mine)
        rival[rivals >= 0] = against[rivals[rivals >= 0]]
        without = np.where(_OF_KIND, rival[:, None], mine[:, None])  # (choices, kinds, features)
        kinds = np.arange(len(chosen) + 1) * len(EVIDENCE)
        alone = self.scores(mine, np.arange(len(chosen) + 1))
        loss = alone[:, None] - self.scores(without.reshape(-1, len(FEATURES)), kinds).reshape(-1, len(EVIDENCE))
        names = list(EVIDENCE)
        return [names[at] for at in loss.argmax(1)]

    @classmethod
    def fit(
        cls,
        examples: Sequence[Example],
        *,
        units: int = 8,
        fits: int = 5,
        decay: float = 1e-3,
        steps: int = 120,
        remembered: Resolver | None = None,
    ) -> Resolver:
        """Maximise the likelihood of the correct choices (L-BFGS with weight decay).

        One fit depends on the initial hidden units, by up to a point of accuracy; the mean of several does not.

        Args:
            examples: one for each group; without a correct candidate, "none of them" is correct.
            units: of the hidden layer of one fit.
            fits: number of random initialisations; their mean is one resolver with the hidden units of all.
            decay: of the squared weights, on standardised features.
            remembered: a resolver whose counts of the training documents the new one keeps.
        """
        choices, mean, deviation = _Choices.of(examples).standardised()
        fitted = [_fit_once(choices, seed=seed, units=units, decay=decay, steps=steps) for seed in range(fits)]
        all_linear, all_none, all_hidden, all_bias, all_output = zip(*fitted, strict=True)
        linear, none_weights = torch.stack(all_linear).mean(0), torch.stack(all_none).mean(0)
        hidden, bias, output = torch.cat(all_hidden), torch.cat(all_bias), torch.cat(all_output) / fits
        none_weights[0] += (linear * mean / deviation).sum()  # fold the standardisation into the weights
        bias -= hidden @ (mean / deviation)
        return cls(
            weights=(linear / deviation).numpy(),
            none_weights=none_weights.numpy(),
            hidden=(hidden / deviation).numpy(),
            bias=bias.numpy(),
            output=output.numpy(),
            prior=remembered.prior if remembered else {},
            strings=remembered.strings if remembered else TrainingStrings(),
        )


def _ruled(scores: np.ndarray, features: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the scores of the candidates of groups, after ruling out those that an unambiguous name excludes."""
    named = (features[:, _EXACT] > 0) & (features[:, _SOLE] > 0)
    rival = ~named & ((features[:, _PRIOR] >= OFTEN) | (features[:, _TRAINED] != 0))
    decided = reduce_runs(np.maximum, named, first, empty=0.0) > reduce_runs(np.maximum, rival, first, empty=0.0)
    return np.where(named | ~decided[owners_of(first)], scores, scores - NEVER)


@dataclass(frozen=True, slots=True)
class _Choices:
    """The examples as tensors: N groups of at most K candidates, and "none of them" as the last choice."""

    table: Tensor  # (N, K, features)
    live: Tensor  # bool (N, K), whether the candidate exists
    right: Tensor  # bool (N, K + 1)
    none: Tensor  # (N, features of "none of them")

    @classmethod
    def of(cls, examples: Sequence[Example]) -> _Choices:
        widest = max(len(features) for features, _, _ in examples)
        table = torch.zeros(len(examples), widest, len(FEATURES))
        live = torch.zeros(len(examples), widest, dtype=torch.bool)
        right = torch.zeros(len(examples), widest + 1, dtype=torch.bool)
        none = torch.zeros(len(examples), len(NONE_FEATURES))
        for row, (features, none_features, correct) in enumerate(examples):
            table[row, : len(features)] = torch.from_numpy(features)
            live[row, : len(features)] = True
            right[row, : len(features)] = torch.from_numpy(correct)
            right[row, -1] = not correct.any()
            none[row] = torch.from_numpy(none_features)
        return cls(table, live, right, none)

    def standardised(self) -> tuple[_Choices, Tensor, Tensor]:
        """Return the choices with features of mean 0 and deviation 1, and the former mean and deviation."""
        seen = self.table[self.live]
        mean = seen.mean(0)
        deviation = (seen.std(0) if len(seen) > 1 else torch.zeros_like(mean)).clamp(min=1e-3)
        return replace(self, table=(self.table - mean) / deviation), mean, deviation


def _fit_once(choices: _Choices, *, seed: int, units: int, decay: float, steps: int) -> list[Tensor]:
    """Return the weights, those of "none of them", and the hidden layer's weights, bias and output of one fit."""
    generator = torch.Generator().manual_seed(seed)
    linear, none_weights = torch.zeros(len(FEATURES)), torch.zeros(len(NONE_FEATURES))
    hidden = torch.randn(units, len(FEATURES), generator=generator) / len(FEATURES) ** 0.5
    bias, output = torch.zeros(units), torch.randn(units, generator=generator) / max(1, units) ** 0.5
    parameters = [each.requires_grad_() for each in (linear, none_weights, hidden, bias, output)]
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = choices.table @ linear + (choices.table @ hidden.T + bias).tanh() @ output
        scores = scores.masked_fill(~choices.live, -torch.inf)
        logits = torch.cat([scores, (choices.none @ none_weights).unsqueeze(1)], 1).log_softmax(1)
        likelihood = logits.masked_fill(~choices.right, -torch.inf).logsumexp(1).mean()
        value = -likelihood + decay * sum(weights.square().sum() for weights in parameters)
        value.backward()
        return value

    optimizer.step(loss)
    return [each.detach() for each in parameters]


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _named(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: _rounded(value) for name, value in zip(names, values, strict=True)}
