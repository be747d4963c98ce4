"""The promotion gate as a function of counts and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2emern.model.evaluation.comparison import compare
from e2emern.model.evaluation.scores import Cell, Counts
from e2emern.model.inference.cascade import Cascade, load_cascade
from e2emern.tasks.errors import InputError
from e2emern.tasks.evaluation.promotion_gate import (
    Margins,
    Smoke,
    annotate_sample,
    judge,
    measure_throughput,
    sample_texts,
)
from e2emern.warehouse.registry.evaluations import Check
from tests.flows.world import World, articles, pubmed

GOOD = Smoke(documents=26, mentions=900, concepts=300)


def counts(right: int, *, slices: dict[str, int] | None = None, protocol: str = "document") -> Counts:
    """Ten pairs in each of 100 documents, some of them correct, in total and by slice; a miss is also an extra."""
    found = {}
    for name, number in {"all": right, **(slices or {})}.items():
        row = (number, 10 - number, 10 - number)
        found[Cell("ncbi", "dev", protocol, name, "Disease")] = np.tile(np.array(row, np.int64), (100, 1))
    return found


def checks(
    champion: Counts,
    challenger: Counts,
    *,
    smoke: Smoke = GOOD,
    speed: float = 1.0,
    documents: int = 100,
    margins: Margins | None = None,
) -> tuple[Check, ...]:
    return judge(
        compare(champion, challenger),
        gold=challenger,
        smoke=smoke,
        throughput=(10.0, 10.0 * speed),
        documents=documents,
        margins=margins or Margins(),
    )


def reasons(found: tuple[Check, ...]) -> list[str | None]:
    return [check.reason for check in found if not check.passed]


def test_an_equal_challenger_passes_and_every_check_is_reported() -> None:
    slices = {"string unseen": 5, "concept unseen": 5, "abbreviation": 5, "composite": 5}
    found = checks(counts(7, slices=slices), counts(7, slices=slices))
    assert reasons(found) == []
    assert [(check.name, check.champion, check.challenger, check.least) for check in found] == [
        ("document F1", 0.7, 0.7, -0.01),
        ("document F1, ncbi/dev Disease", 0.7, 0.7, pytest.approx(0.68)),
        ("document F1, ncbi/dev Disease, abbreviation", 0.5, 0.5, pytest.approx(0.45)),
        ("document F1, ncbi/dev Disease, concept unseen", 0.5, 0.5, pytest.approx(0.47)),
        ("document F1, ncbi/dev Disease, string unseen", 0.5, 0.5, pytest.approx(0.47)),
        ("unseen documents", None, 100.0, 20.0),
        ("concepts in the sample", None, 300.0, 1.0),
        ("documents a second", 10.0, 10.0, 8.0),
    ]


def test_a_worse_challenger_is_refused_with_figures() -> None:
    assert reasons(checks(counts(7), counts(6))) == [
        "document F1: 70.0 -> 60.0, possibly worse by 10.0, margin 1.0",
        "document F1, ncbi/dev Disease: 70.0 -> 60.0, margin 2.0",
    ]
    assert reasons(checks(counts(7), counts(6), margins=Margins(document=0.11, entity_type=0.11))) == []


def test_a_challenger_that_is_possibly_worse_is_refused() -> None:
    champion, challenger = counts(5), counts(5)
    (cell,) = challenger
    challenger[cell][:50] = (9, 1, 1)
    challenger[cell][50:] = (1, 9, 9)
    assert reasons(checks(champion, challenger)) == ["document F1: 50.0 -> 50.0, possibly worse by 8.0, margin 1.0"]


@pytest.mark.parametrize(
    ("slice_", "right", "refused"),
    [("string unseen", 4, True), ("concept unseen", 4, True), ("abbreviation", 4, True), ("composite", 0, False)],
)
def test_a_slice_has_its_own_margin(slice_: str, right: int, refused: bool) -> None:
    found = reasons(checks(counts(7, slices={slice_: 5}), counts(7, slices={slice_: right})))
    margin = 5.0 if slice_ == "abbreviation" else 3.0
    assert found == ([f"document F1, ncbi/dev Disease, {slice_}: 50.0 -> 40.0, margin {margin}"] if refused else [])


def test_a_small_slice_is_reported_and_not_judged() -> None:
    few = Margins(least_gold=1001)
    found = checks(counts(7, slices={"abbreviation": 5}), counts(7, slices={"abbreviation": 1}), margins=few)
    assert [(check.challenger, check.least, check.passed) for check in found if "abbreviation" in check.name] == [
        (0.1, None, True)
    ]


@pytest.mark.parametrize(
    ("smoke", "reason"),
    [
        (Smoke(fault="ValueError: no"), "the sample: ValueError: no"),
        (Smoke(documents=26, mentions=3), "the sample: 3 mentions of 0 concepts in 26 documents"),
    ],
)
def test_real_text_has_to_be_annotated(smoke: Smoke, reason: str) -> None:
    assert reasons(checks(counts(7), counts(8), smoke=smoke)) == [reason]


def test_a_slow_challenger_is_refused() -> None:
    assert reasons(checks(counts(7), counts(8), speed=0.79)) == [
        "documents a second: 10.0 -> 7.9, expected at least 80 % of the champion's"
    ]


def test_a_missing_protocol_is_reported() -> None:
    with pytest.raises(InputError, match="the gate needs the protocol document"):
        checks(counts(7, protocol="ner"), counts(7, protocol="ner"))


@pytest.fixture(scope="module")
def cascade(world: World, tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    return load_cascade(world.model, mesh=world.mesh, banks=tmp_path_factory.mktemp("banks"))


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.xml"
    path.write_text(pubmed(articles(4, first=300), bad=1))
    return path


def test_the_sample_is_annotated_as_a_run_would(
    cascade: Cascade, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = annotate_sample(cascade, sample)
    assert (found.documents, found.fault) == (4, None)
    assert found.mentions >= found.concepts >= 2
    broken = annotate_sample(cascade, sample.with_name("none.xml"))
    assert broken == Smoke(fault=f"InputError: {sample.with_name('none.xml')}: no such file or folder")
    monkeypatch.setattr(cascade, "link", None)
    assert annotate_sample(cascade, sample).fault == "4 documents could not be read"


def test_throughput_is_the_best_of_alternating_rounds(cascade: Cascade, sample: Path) -> None:
    texts = sample_texts(sample)
    assert len(texts) == 4
    ticks = iter([0, 0, 0, 2, 0, 4, 0, 1, 0, 8])  # the warm-up first
    assert measure_throughput(cascade, cascade, texts, rounds=2, clock=lambda: float(next(ticks))) == (4.0, 1.0)
