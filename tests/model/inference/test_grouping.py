"""Which spans are linked together, and the evidence for their candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from e2emern.model.document import Concept
from e2emern.model.inference.candidates import Candidates, Found
from e2emern.model.inference.features import FEATURES, features_of, spelling
from e2emern.model.inference.grouping import Group, Span, appositions, group_spans
from e2emern.model.inference.lookup import LookedUp, LookUps, parts_of
from e2emern.model.vocabulary import Vocabulary
from tests.model import tiny


def span(text: str, *, document: int = 0, start: int = 0, kind: str = "Disease") -> Span:
    return Span(document, start, start + len(text), text, kind, 0.9, 0, 0, 1)


def spans_in(text: str, *names: str, kind: str = "Chemical") -> list[Span]:
    return [span(name, start=text.index(name), kind=kind) for name in names]


def table_of(
    found: LookedUp,
    concepts: Sequence[int],
    *,
    vocabulary: Vocabulary,
    similarity: Sequence[float] = (),
    likeness: Sequence[float] = (),
    prior: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Return the evidence for the candidates of one group, without scores of the levels."""
    zeros = np.zeros(len(concepts), np.float32)
    near = [np.array(each, np.float32) if each else zeros for each in (similarity, likeness)]
    candidates = Candidates(np.array([0, len(concepts)]), np.array(concepts, np.int64), np.zeros(0, np.int64), *near)
    return features_of([Group(found, [0])], candidates, mid=zeros, high=zeros, vocabulary=vocabulary, prior=prior or {})


def test_repeats_and_abbreviations_are_one_group_within_a_document() -> None:
    spans = [span("Renal failure"), span("renal-failure", start=30), span("RF", start=50), span("RF", document=1)]
    groups = group_spans(spans, abbreviations=[{"RF": "renal failure"}, {}], look_ups=LookUps(tiny.vocabulary()))
    assert [(group.spans, group.found.match) for group in groups] == [([0, 1, 2], "exact"), ([3], "none")]


def test_short_forms_within_the_words_are_spelt_out_and_left_out_in_brackets() -> None:
    spans = [span("colon (C) cancer"), span("C cancer", start=20), span("colon (x) cancer", start=40)]
    groups = group_spans(spans, abbreviations=[{"C": "colon"}], look_ups=LookUps(tiny.vocabulary()))
    assert [(group.words, group.spans, group.found.match) for group in groups] == [
        ("colon cancer", [0, 1], "exact"),
        ("colon (x) cancer", [2], "none"),
    ]


def test_a_span_of_two_concepts_is_in_two_groups() -> None:
    spans = [span("breast and colon cancer"), span("colon cancer", start=40)]
    groups = group_spans(spans, abbreviations=[{}], look_ups=LookUps(tiny.vocabulary()))
    assert [(group.words, group.spans) for group in groups] == [("breast cancer", [0]), ("colon cancer", [0, 1])]


@pytest.mark.parametrize(
    ("words", "heads"),
    [
        ("ocular breast cancers", ["D001"]),  # and not only of cancer
        ("severe renal failure", ["D004"]),
        ("breast cancer", []),  # a name itself
        ("headache of the eye", []),
        ("severe aspirin", []),  # of another type
        ("ocular", []),
    ],
)
def test_words_that_end_with_a_name_have_its_concept_as_candidate(words: str, heads: list[str]) -> None:
    vocabulary = tiny.vocabulary()
    (group,) = group_spans([span(words)], abbreviations=[{}], look_ups=LookUps(vocabulary))
    assert [vocabulary.concepts[at].mesh_id for at in group.found.heads] == heads
    others = [at for at in range(3, 6) if at not in group.found.heads]
    merged = Found(group, exact=[], by_name=others, by_context=[]).merged(2)
    assert merged == [*others[:2], *group.found.heads]
    table = table_of(group.found, merged, vocabulary=vocabulary)
    assert table[:, FEATURES.index("head")].tolist() == [0] * 2 + [1] * len(heads)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("breast and colon cancer", ["breast cancer", "colon cancer"]),
        ("breast/colon cancers", ["breast cancers", "colon cancers"]),
        ("breast and/or colon cancer", ["breast cancer", "colon cancer"]),
        ("headache and renal failure", ["headache", "renal failure"]),
        ("renal, breast and colon cancer", ["renal, breast and colon cancer"]),  # no renal cancer in the vocabulary
        ("breast cancer and breast neoplasms", ["breast cancer and breast neoplasms"]),  # one concept
        ("colon cancer", ["colon cancer"]),
        ("and", ["and"]),
        ("/", ["/"]),
    ],
)
def test_coordinated_names_are_split_if_each_part_is_a_name(words: str, parts: list[str]) -> None:
    assert parts_of(words, entity_type="Disease", vocabulary=tiny.vocabulary()) == parts


@pytest.mark.parametrize(
    ("text", "names", "explained"),
    [
        ("Aspirin (ASA) was given.", ("Aspirin", "ASA"), {"ASA": "Aspirin"}),
        ("ASA [aspirin] was given.", ("ASA", "aspirin"), {"ASA": "aspirin"}),
        ("Aspirin, ASA was given.", ("Aspirin", "ASA"), {}),
        ("Axbycide (ABC) was given.", ("Axbycide", "ABC"), {}),  # the longer is not a name of the vocabulary
        ("Aspirin (a b) was given.", ("Aspirin", "a b"), {}),
    ],
)
def test_a_name_in_brackets_is_explained_by_the_one_before(
    text: str, names: tuple[str, ...], explained: dict[str, str]
) -> None:
    assert appositions(spans_in(text, *names), texts=[text], vocabulary=tiny.vocabulary()) == [explained]


@pytest.mark.parametrize(
    ("text", "short", "explained"),
    [
        ("Cisplatin (CDDP) was given.", "CDDP", {"CDDP": "Cisplatin"}),
        ("Cisplatin (headache) was given.", "headache", {}),  # a word is not a short form of another type's name
        ("Cisplatin (HEADACHE) was given.", "HEADACHE", {}),  # nor is a disease by its own name
    ],
)
def test_across_types_only_capitals_that_are_not_a_name_are_explained(
    text: str, short: str, explained: dict[str, str]
) -> None:
    spans = [replace(spans_in(text, "Cisplatin")[0], entity_type="Chemical"), *spans_in(text, short)]
    spans[1] = replace(spans[1], entity_type="Disease")
    assert appositions(spans, texts=[text], vocabulary=tiny.vocabulary()) == [{}]
    assert appositions(spans, texts=[text], vocabulary=tiny.vocabulary(), across_types=True) == [explained]


def test_features_say_how_the_words_agree() -> None:
    vocabulary = tiny.vocabulary()
    [[found]] = LookUps(vocabulary).of([("renal failure", "Disease")])
    table = table_of(
        found, [vocabulary.position["D004"], vocabulary.position["D005"]], vocabulary=vocabulary,
        similarity=[2.0, 3.0], likeness=[1.0, 0.5], prior={"D004": 7},
    )  # fmt: skip
    first, second = (dict(zip(FEATURES, row, strict=True)) for row in table.tolist())
    assert (first["exact"], first["exact_preferred"], first["sole"], first["lead"]) == (1, 0, 1, -1)
    assert (second["exact"], second["lead"], second["likeness_lead"], second["descriptor"]) == (0, 0, -0.5, 1)
    assert first["prior"] == pytest.approx(np.log(8))
    assert (second["prior"], first["depth"], first["disease"]) == (0, 1, 1)
    assert table_of(LookedUp("x", "Disease"), [], vocabulary=vocabulary).shape == (0, len(FEATURES))


@pytest.mark.parametrize(("other", "sole"), [("Diabetes mellitus, type 2", 1), ("Slow diabetes", 0)])
def test_concepts_of_the_same_preferred_name_are_one(other: str, sole: int) -> None:
    """Cause: type 2 diabetes, a descriptor and an OMIM entry, was linked to the better known type 1."""
    known = [
        Concept("D1", "Disease", ("Diabetes Mellitus, Type 2", "T2D"), "descriptor", ()),
        Concept("125853", "Disease", (other, "T2D"), "omim", ()),
    ]
    vocabulary = Vocabulary(known, version="twice")
    [[found]] = LookUps(vocabulary).of([("T2D", "Disease")])
    assert table_of(found, [0, 1], vocabulary=vocabulary)[:, FEATURES.index("sole")].tolist() == [sole, sole]


@pytest.mark.parametrize(
    ("words", "name", "share"),
    [("colon cancer", "Colon-Cancer", 1.0), ("rash", "fever", 0.0), ("tumour", "tumor", 6 / 11), ("", "", 0.0)],
)
def test_spelling_is_the_share_of_trigrams(words: str, name: str, share: float) -> None:
    assert spelling(words, name) == pytest.approx(share)
