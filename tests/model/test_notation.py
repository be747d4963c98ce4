"""Spellings of types and ids that corpora and dumps use, each with what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2emern.model.notation import is_omim, normalize_id, normalize_type

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        *[(written, "Disease") for written in (
            "Disease", "disease", "DISEASE", " Disease ", "SpecificDisease", "specific_disease", "Modifier",
            "DiseaseClass", "CompositeMention", "composite mention", "DiseaseOrPhenotypicFeature",
            "disease-or-phenotypic-feature", "Disorder",
        )],
        *[(written, "Chemical") for written in (
            "Chemical", "CHEMICAL", "chemical", "ChemicalEntity", "Chemical Entity", "Drug", "drug", "DRUG",
            "Simple_chemical",
        )],
        *[(written, None) for written in (
            "", "Gene", "GeneOrGeneProduct", "Species", "SequenceVariant", "CellLine", "OrganismTaxon", "Diseased",
        )],
    ],
)  # fmt: skip
def test_types(written: str, kind: str | None) -> None:
    assert normalize_type(written) == kind


@pytest.mark.parametrize(
    ("written", "identifier"),
    [
        ("D006073", "D006073"),
        ("C537734", "C537734"),
        ("D000077465", "D000077465"),
        ("d006073", "D006073"),
        (" D006073\u00a0", "D006073"),
        ("D006073*", "D006073"),
        ("D006073 *", "D006073"),
        ("MESH:D006073", "D006073"),
        ("mesh:D006073", "D006073"),
        ("MeSH:D006073*", "D006073"),
        ("Mesh:d006073", "D006073"),
        ("MESH: D006073", "D006073"),
        ("MESH :D006073", "D006073"),
        ("MSH:D006073", "D006073"),
        ("MESH_D006073", "D006073"),
        ("MESH:MESH:D006073", "D006073"),
        ("http://id.nlm.nih.gov/mesh/D006073", "D006073"),
        ("<http://id.nlm.nih.gov/mesh/2024/D006073>", "D006073"),
        ("https://id.nlm.nih.gov/mesh/D006073.html", "D006073"),
        ("https://meshb.nlm.nih.gov/record/ui?ui=D006073", "D006073"),
        ("https://meshb-prev.nlm.nih.gov/#/record/ui?ui=C537734&x=1", "C537734"),
        ("http://purl.bioontology.org/ontology/MESH/D006073", "D006073"),
        ("https://identifiers.org/mesh:D006073", "D006073"),
        ("https://www.ncbi.nlm.nih.gov/mesh/68006073", "D006073"),
        ("https://www.ncbi.nlm.nih.gov/mesh/67537734", "C537734"),
        ("https://www.ncbi.nlm.nih.gov/mesh/?term=D006073", "D006073"),
        ("OMIM:114480", "114480"),
        ("omim: 114480", "114480"),
        ("MIM:114480", "114480"),
        ("114480", "114480"),
        ("https://omim.org/entry/114480", "114480"),
        ("https://www.omim.org/entry/114480", "114480"),
        ("CHEBI:15365", "CHEBI:15365"),
        ("DOID:1612", "DOID:1612"),
        ("MONDO:0005011", "MONDO:0005011"),
        ("https://example.org/x", "https://example.org/x"),
        *[(written, None) for written in (
            "", " ", "-", "-1", "CUI-less", "cui-less", "CUILESS", "None", "NONE", "none", "NA", "N/A", "NIL", "nil",
            "null", "nan", "MESH:", "MESH:-1", "MESH:None", "mesh: -", "OMIM:-", "*",
        )],
    ],
)  # fmt: skip
def test_ids(written: str, identifier: str | None) -> None:
    assert normalize_id(written) == identifier


def test_which_ids_are_of_omim() -> None:
    assert [is_omim(written) for written in ("OMIM:114480", " omim:1", "https://omim.org/entry/1", "MESH:D1", "1")] == [
        True, True, True, False, False,
    ]  # fmt: skip


@given(st.text() | st.from_regex(r"(mesh|MeSH|OMIM)?[:_ ]*[CD]?[0-9*]{0,9}[*> ]?", fullmatch=True))
def test_a_normalized_id_is_unchanged(written: str) -> None:
    once = normalize_id(written)
    assert once is None or normalize_id(once) == once


@given(st.sampled_from(["mesh:", "MESH:", "MeSH: ", "", " "]), st.sampled_from(["", "*", " ", " * "]))
def test_characters_around_an_id_are_ignored(before: str, after: str) -> None:
    assert normalize_id(f"{before}D006073{after}") == "D006073"


def test_there_is_one_table_of_spellings() -> None:
    packages = ("model", "tasks", "flows", "warehouse", "experiments", "benchmarks", "defaults")
    files = [path for package in packages for path in (ROOT / package).rglob("*") if path.suffix in (".py", ".sql")]
    spelling = re.compile("SpecificDisease|CompositeMention|ChemicalEntity|CUI-?less", re.IGNORECASE)
    holding = [path.relative_to(ROOT) for path in files if spelling.search(path.read_text(encoding="utf-8"))]
    assert holding == [Path("model/notation.py")]
