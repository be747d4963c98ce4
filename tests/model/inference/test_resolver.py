"""The resolver: fitting, choosing, abstaining, and naming the evidence that decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e2emern.model.inference.features import FEATURES, NONE_FEATURES
from e2emern.model.inference.resolver import EVIDENCE, NEVER, Example, Resolver
from e2emern.model.inference.training_strings import TrainingStrings

SURE = np.array([{"bias": 1.0, "ner": 2.2}.get(name, 0.0) for name in NONE_FEATURES], np.float32)


def examples(*, seed: int = 0) -> list[Example]:
    """If the best mid is over 0.5 it decides, otherwise none is correct."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(200):
        features = random.normal(size=(4, len(FEATURES))).astype(np.float32)
        features[:, FEATURES.index("sole")] = 0.0
        mid = features[:, FEATURES.index("mid")]
        right = np.zeros(4, bool)
        right[mid.argmax()] = mid.max() > 0.5
        made.append((features, SURE, right))
    return made


def row(**values: float) -> np.ndarray:
    return np.array([values.get(name, 0.0) for name in FEATURES], np.float32)


def answer_of(resolver: Resolver, features: np.ndarray, *, none: np.ndarray | None = SURE) -> tuple[int, float] | None:
    """Return the choice for one group, and its probability."""
    first = np.array([0, len(features)])
    [chosen], [probability] = resolver.resolve(features, first, none_features=none if none is None else none[None])
    return None if chosen < 0 else (int(chosen), float(probability))


@pytest.mark.parametrize("units", [0, 8])
def test_the_fit_finds_what_decides(units: int) -> None:
    resolver = Resolver.fit(examples(), units=units)
    agreed = [
        (answer is None and not right.any()) or (answer is not None and right[answer[0]])
        for answer, right in ((answer_of(resolver, features), right) for features, _, right in examples(seed=1))
    ]
    assert np.mean(agreed) > 0.8


def test_several_fits_are_one_resolver_whose_utilities_are_their_mean() -> None:
    alone, both = (Resolver.fit(examples(), units=3, fits=fits) for fits in (1, 2))
    assert (len(alone.hidden), len(both.hidden)) == (3, 6)
    features = examples(seed=1)[0][0]
    other = 2 * both.scores(features) - alone.scores(features)  # of the second fit
    assert not np.allclose(other, alone.scores(features), atol=1e-3)
    of_first, of_second = (np.tanh(features @ both.hidden[at].T + both.bias[at]) for at in (slice(0, 3), slice(3, 6)))
    units = of_first @ both.output[:3] + of_second @ both.output[3:]
    assert both.scores(features) == pytest.approx(features @ both.weights + units, abs=1e-4)
    assert both.hidden[:3] == pytest.approx(alone.hidden)
    assert 2 * both.output[:3] == pytest.approx(alone.output)


@pytest.mark.parametrize(("prior", "trained", "chosen"), [(1.0, 0.0, 1), (4.0, 0.0, 0), (1.0, 0.3, 0)])
def test_an_unambiguous_name_decides_unless_training_contradicts(prior: float, trained: float, chosen: int) -> None:
    weights = row(exact=1.0, mid=1.0)
    resolver = Resolver(weights, Resolver.unfitted().none_weights)
    features = np.stack([row(mid=8.0, prior=prior, trained=trained), row(exact=1.0, sole=1.0, mid=2.0)])
    answer = answer_of(resolver, features)
    assert answer is not None
    assert answer[0] == chosen
    assert answer[1] > 0.99


def test_a_stored_resolver_weighs_the_same() -> None:
    strings = TrainingStrings({"Disease": {"ache": {"D001": 2}}}, {"Disease": {"ache": (2, 1)}})
    remembered = replace(Resolver.unfitted(), prior={"D001": 3}, strings=strings)
    resolver = replace(Resolver.fit(examples(), remembered=remembered), given=1.5)
    again = Resolver.from_dict(resolver.to_dict())
    features = examples(seed=1)[0][0]
    assert again.scores(features) == pytest.approx(resolver.scores(features), abs=0.01)
    assert again.to_dict() == resolver.to_dict()
    assert (again.prior, again.strings, again.given) == ({"D001": 3}, strings, 1.5)


def test_weights_of_other_evidence_are_refused() -> None:
    stored = Resolver.unfitted().to_dict()
    del stored["weights"]["mid"]
    with pytest.raises(ValueError, match=r"than this version has; run python -m e2emern\.model\.training\.calibrate"):
        Resolver.from_dict(stored)
    with pytest.raises(ValueError, match="other features"):
        Resolver.from_dict({"weights": {}, "none_weights": {}})


def test_a_resolver_inclined_to_none_abstains() -> None:
    features = np.stack([row(exact=1), row()])
    resolver = Resolver.unfitted()
    assert answer_of(resolver, features) == (0, pytest.approx(1 / (1 + np.exp(-6)), abs=1e-4))
    assert answer_of(resolver.inclined(27), features) is None


def test_a_given_span_is_refused_only_below_the_utility_fitted_for_it() -> None:
    features = np.stack([row(exact=1), row()])
    resolver = Resolver.unfitted().inclined(NEVER)
    assert answer_of(resolver, features) is None
    assert answer_of(resolver, features, none=None) == (0, pytest.approx(1 / (1 + np.exp(-6)), abs=1e-4))
    assert answer_of(replace(resolver, given=7.0), features, none=None) is None


@pytest.mark.parametrize(
    ("mine", "how"),
    [
        (row(exact=1, mid=1), "name"),
        (row(variant=1, lead=1), "variant"),
        (row(lead=1, mid=1), "bank"),
        (row(mid=3), "mid"),
        (row(high=3), "high"),
    ],
)
def test_the_evidence_is_the_kind_that_the_choice_needs_most(mine: np.ndarray, how: str) -> None:
    assert Resolver.unfitted().evidence(
        np.stack([row(), mine, mine, row()]), np.array([0, 2, 2, 3, 4]), np.array([1, 2])
    ) == [how, how]


def test_every_feature_but_the_type_is_evidence() -> None:
    assert {name for names in EVIDENCE.values() for name in names} == set(FEATURES) - {"disease"}


def test_no_candidates_give_no_link() -> None:
    assert answer_of(Resolver.unfitted(), np.zeros((0, len(FEATURES)), np.float32)) is None


def test_a_single_candidate_is_enough_to_fit_to() -> None:
    resolver = Resolver.fit([(row(mid=1.0)[None], SURE, np.array([True]))])
    assert np.isfinite(resolver.weights).all()
    assert answer_of(resolver, row(mid=1.0)[None]) is not None
