from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.model.document import Concept
from e2emern.model.vocabulary import Vocabulary, bag_of_words, normalise
from tests.model import tiny


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("β-Thalassemia", "beta thalassemia"),
        ("Sjögren's  Syndrome", "sjogren s syndrome"),
        ("5-HT(1A)", "5 ht 1a"),
        ("--", ""),
    ],
)
def test_names_are_normalised(name: str, expected: str) -> None:
    assert normalise(name) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [("Neoplasms, Breast", "breast neoplasm"), ("Allergies, Food", "food allergy"), ("Tumors", "tumor")],
)
def test_word_order_and_plural_fold(one: str, other: str) -> None:
    assert bag_of_words(one) == bag_of_words(other)


def test_words_that_only_look_plural_are_unchanged() -> None:
    assert bag_of_words("virus abscess sepsis") == "abscess sepsis virus"


def test_concepts_are_ordered_by_type_so_that_a_type_is_a_slice() -> None:
    vocabulary = tiny.vocabulary()
    diseases = vocabulary.concepts[vocabulary.slice_of("Disease")]
    assert [concept.mesh_id for concept in diseases] == ["D001", "D002", "D003", "D004", "D005"]
    assert vocabulary.slice_of("Gene") == slice(0, 0)
    assert [vocabulary.names[at] for at in range(*vocabulary.first_name[2:4])] == list(diseases[0].names)


@pytest.mark.parametrize(
    ("words", "how", "concepts"),
    [
        ("breast cancer", "exact", {"D001": False}),
        ("Breast-Neoplasms", "exact", {"D001": True}),
        ("breast neoplasm", "variant", {"D001": True}),
        ("renal", "none", {}),
    ],
)
def test_look_up(words: str, how: str, concepts: dict[str, bool]) -> None:
    vocabulary = tiny.vocabulary()
    match, found = vocabulary.look_up(words, entity_type="Disease")
    assert (match, {vocabulary.concepts[at].mesh_id: best for at, best in found.items()}) == (how, concepts)


@pytest.mark.parametrize(
    ("words", "how", "concepts"),
    [
        ("No", "exact", ["D1"]),
        ("no", "none", []),
        ("NO", "none", []),
        ("K", "exact", ["D2"]),
        ("k+", "none", []),
        ("tin", "exact", ["D1"]),
        ("14", "none", []),
        ("2,4", "none", []),
        ("f 14", "exact", ["D2"]),
        ("", "none", []),
    ],
)
def test_short_names_must_agree_in_case_and_numbers_are_not_names(words: str, how: str, concepts: list[str]) -> None:
    known = [
        Concept("D1", "Chemical", ("Nobelium", "No", "Tin", "14"), "descriptor", ()),
        Concept("D2", "Chemical", ("Potassium", "K+", "F-14", "2,4"), "descriptor", ()),
    ]
    vocabulary = Vocabulary(known, version="symbols")
    match, found = vocabulary.look_up(words, entity_type="Chemical")
    assert (match, [vocabulary.concepts[at].mesh_id for at in found]) == (how, concepts)


@pytest.mark.parametrize(
    ("words", "how", "concepts"),
    [
        ("CoCl2", "exact", ["C1"]),
        ("COCl2", "exact", ["D1"]),
        ("COCL2", "exact", ["C1", "D1"]),
        ("THz", "none", []),
        ("Phosgene", "exact", ["D1"]),
    ],
)
def test_words_in_mixed_case_must_agree_in_case(words: str, how: str, concepts: list[str]) -> None:
    known = [
        Concept("C1", "Chemical", ("cobaltous chloride", "CoCl2"), "supplementary", ()),
        Concept("D1", "Chemical", ("phosgene", "COCl2"), "descriptor", ()),
        Concept("C2", "Chemical", ("a thiazolidine", "THZ"), "supplementary", ()),
    ]
    vocabulary = Vocabulary(known, version="symbols")
    match, found = vocabulary.look_up(words, entity_type="Chemical")
    assert (match, [vocabulary.concepts[at].mesh_id for at in found]) == (how, concepts)


def test_look_up_is_limited_to_the_type() -> None:
    assert tiny.vocabulary().look_up("aspirin", entity_type="Disease") == ("none", {})


@pytest.mark.parametrize(
    ("identifier", "canonical"),
    [("MESH:D001", "D001"), (" D001", "D001"), ("OMIM:114480", "D001"), ("114480 ", "D001"), ("D999", "D999")],
)
def test_identifiers_become_canonical(identifier: str, canonical: str) -> None:
    assert tiny.vocabulary().canonical(identifier) == canonical


def test_two_versions_in_one_table_are_refused(tmp_path: Path) -> None:
    row = {
        "mesh_id": "D1", "names": ["a"], "entity_type": "Disease", "tree_numbers": [], "record_type": "descriptor",
        "mapped_to": [], "aliases": [],
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row | {"mesh_version": v} for v in ("1", "2")]), tmp_path / "e.parquet")
    with pytest.raises(ValueError, match="found 2 MeSH versions, expected 1"):
        Vocabulary.read(tmp_path / "e.parquet")


def test_vocabularies_differ_in_their_digest() -> None:
    other = Vocabulary(tiny.CONCEPTS[:-1], version="tiny")
    assert tiny.vocabulary().digest == tiny.vocabulary().digest
    assert tiny.vocabulary().digest != other.digest


class TestSelection:
    def selected(self, **options: list[str]) -> list[str]:
        vocabulary = tiny.vocabulary()
        chosen = vocabulary.select(**options)
        return [concept.mesh_id for concept, is_in in zip(vocabulary.concepts, chosen, strict=True) if is_in]

    def test_branches_hold_what_is_under_them(self) -> None:
        assert self.selected(branches=["C04.588"]) == ["D001", "D002"]
        assert self.selected(branches=["C04.588.274", "C23"]) == ["D002", "D005"]

    def test_allowed_ids_are_added_to_branches_and_denied_ones_removed(self) -> None:
        assert self.selected(branches=["C04"], allow=["MESH:D006"], deny=["D002"]) == ["D006", "D001"]
        assert self.selected(allow=["OMIM:114480"]) == ["D001"]
        assert self.selected(deny=["D001"]) == ["C007", "D006", "D002", "D003", "D004", "D005"]

    def test_supplementary_records_follow_what_they_are_mapped_to(self) -> None:
        concepts = [
            Concept("D9", "Chemical", ("Platinum",), "descriptor", ("D01.268",)),
            Concept("C9", "Chemical", ("platin",), "supplementary", (), ("D9",)),
        ]
        assert Vocabulary(concepts, version="1").select(branches=["D01"]).tolist() == [True, True]

    def test_unknown_ids_and_branches_are_refused(self) -> None:
        with pytest.raises(ValueError, match="D999: no such concept in MeSH tiny"):
            tiny.vocabulary().select(deny=["D999"])
        with pytest.raises(ValueError, match="C05: no concept of MeSH tiny has such a tree number"):
            tiny.vocabulary().select(branches=["C05"])


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"mesh_id": ["D1"], "mesh_version": ["1"]}), tmp_path / "e.parquet")
    with pytest.raises(ValueError, match=r"e\.parquet: no column names, entity_type, .*; expected an entities table"):
        Vocabulary.read(tmp_path / "e.parquet")
