"""Reported kinds of inputs, each with its correct result."""

from pathlib import Path

import pytest

from e2emern.model.document import Document
from e2emern.model.notation import normalize_id
from e2emern.tasks.parsers import parse
from e2emern.tasks.parsers.records import Deletion, Failure
from e2emern.tasks.training.gold import read_gold

BREAST = (
    "Aspirin in breast cancer.",
    "Aspirin (ASA) lowers the risk of breast and ovarian cancer in patients with gout.",
)
INS = ("Insulin in diabetes mellitus.", "INS variants cause diabetes mellitus and gout.")
MIXED = [
    ("981", "Gout and aspirin.", "Asthma in men."),
    ("982", "Psoriasis and methotrexate.", "Hepatitis was seen."),
]
TEXTS = {
    "pt47_cat_plain.txt": MIXED,
    "pt42_cat_nonl_ann.txt": [("961", *MIXED[0][1:]), ("962", *MIXED[1][1:])],
    "pt14b_rel6.txt": [("201", *BREAST), ("202", *BREAST)],
    "pt24_float_neg.txt": [(str(number), *BREAST) for number in range(201, 206)],
    "pt41_bioredirect.txt": [(str(number), *INS) for number in (801, 802, 803)],
    "bc08_no_offset.json": [("311", "Gout and aspirin.", "Aspirin in asthma.")],
    "pt30_latin1.txt": [("201", *BREAST), ("203", *BREAST)],
    "pt32_ptc_outside.txt": [("201", *BREAST)],
}
ANNOTATIONS = {
    "pt47_cat_plain.txt": [],
    "pt42_cat_nonl_ann.txt": [
        ("961", "Gout", ("MESH:D006073",)),
        ("962", "Psoriasis", ("MESH:D011565",)),
        ("962", "Hepatitis", ("MESH:D056486",)),
    ],
    "pt14b_rel6.txt": [("201", "gout", ("MESH:D001943",))],
    "pt24_float_neg.txt": [("202", "breast cancer", ("D1",))],
    "pt41_bioredirect.txt": [
        (number, *found) for number in ("801", "802", "803") for found in (("INS", ("3630",)), ("gout", ("D006073",)))
    ],
    "bc08_no_offset.json": [],
    "pt30_latin1.txt": [],
    "pt32_ptc_outside.txt": [],
}
INVALID = {
    "pt47_cat_plain.txt": [],
    "pt42_cat_nonl_ann.txt": [],
    "pt14b_rel6.txt": [("201", "line 4", "not a line of the format")],
    "pt24_float_neg.txt": [
        ("201", "line 3", "outside the text"),
        ("203", "line 11", "discontinuous offsets"),
        ("204", "line 15", "no type"),
        ("205", "line 19", "end not after start"),
    ],
    "pt41_bioredirect.txt": [],
    "bc08_no_offset.json": [("311", "document 1", "offsets assigned")],
    "pt30_latin1.txt": [],
    "pt32_ptc_outside.txt": [("201", f"line {number}", "outside the text") for number in range(3, 8)],
}


@pytest.mark.parametrize("name", list(TEXTS))
def test_a_reported_input_has_its_right_answer(shared_cases: Path, name: str) -> None:
    records = list(parse(shared_cases / name))
    documents = [record for record in records if isinstance(record, Document)]
    assert [(each.document_id, each.title, each.abstract) for each in documents] == TEXTS[name]
    assert [
        (each.document_id, found.text, found.identifiers) for each in documents for found in each.annotations
    ] == ANNOTATIONS[name]
    assert [
        (each.document_id, invalid.position, invalid.kind) for each in documents for invalid in each.invalid_annotations
    ] == INVALID[name]
    failures = [record for record in records if isinstance(record, Failure)]
    assert [(each.record, each.position, each.document_id) for each in failures] == (
        [(1, "line 4", "202")] if name == "pt30_latin1.txt" else []
    )


def test_the_members_of_a_reported_archive_are_read(shared_cases: Path) -> None:
    records = list(parse(shared_cases / "ar06_pubtator.tar.gz"))
    assert [(each.record, each.document_id, each.text) for each in records if isinstance(each, Document)] == [
        (at, str(number), f"Gout and aspirin {number}. Asthma in {number}.")
        for at, number in enumerate(range(951, 957))
    ]
    assert len(records) == 6


PUBMED = {
    "px04_mathml_tex.xml": [("104", "Aspirin in breast cancer.", "Effect of ketamine β in depression.", None, None)],
    "px05_otherabstract.xml": [
        ("105", "Aspirin in breast cancer.", "Levonorgestrel did not cause hypertension.", None, "PIP")
    ],
    "px06_vernacular.xml": [
        ("106", "", "", "Die Behandlung der Gicht mit Colchicin.", None),
        ("107", "", "", "Diabetes mellitus im Alter.", None),
    ],
    "px15_medlinecitationset.xml": [("120", "Gout and allopurinol.", "", None, None)],
    "px20_entity_ext.xml": [
        (
            "127",
            "TNF-α and β-carotene in asthma patients.",
            "Aspirin lowers the risk of breast cancer.",
            None,
            None,
        )
    ],
    "px23_concat.xml": [
        (number, "Aspirin in breast cancer.", "Aspirin lowers the risk of breast cancer.", None, None)
        for number in ("131", "132")
    ],
    "px31_medline_text.txt": [("140", "Aspirin in gout.", "Aspirin harms in gout.", None, None)],
}


@pytest.mark.parametrize("name", list(PUBMED))
def test_a_reported_pubmed_file_has_its_right_answer(shared_cases: Path, name: str) -> None:
    records = list(parse(shared_cases / name))
    documents = [record for record in records if isinstance(record, Document)]
    found = [
        (each.document_id, each.title, each.abstract, each.vernacular_title, each.abstract_type) for each in documents
    ]
    assert found == PUBMED[name]
    others = [record for record in records if not isinstance(record, Document)]
    assert others == ([Deletion(1, 9, 1)] if name == "px15_medlinecitationset.xml" else [])


GOLD = {
    "ln_types_ncbi.PubTator": [("Chemical", "D001241"), ("Disease", "D001943"), ("Disease", "D006073")],
    "ln_types_biored.PubTator": [("Chemical", "D001241"), ("Disease", "D001943"), ("Disease", "D006073")],
    "ln_types_upper.PubTator": [("Chemical", "D001241"), ("Disease", "D001943"), ("Disease", "D006073")],
    "ev_partial_types.PubTator": [("Chemical", "D001241"), ("Disease", "D001943"), ("Disease", "D006073")],
    "id_mesh.PubTator": [("Chemical", "D001241"), ("Disease", "D001943"), ("Disease", "D006073")],
    "id_cuiless.PubTator": [("Chemical", None), ("Disease", None), ("Disease", "D006073")],
}


@pytest.mark.parametrize("name", list(GOLD))
def test_reported_spellings_of_types_and_ids(shared_cases: Path, name: str) -> None:
    """The content of a gold file as `evaluate`, `corpus` and `statistics` read it."""
    (document,) = read_gold(shared_cases / name, corpus="case", split="gold")
    found = [(mention.entity_type, next(map(normalize_id, mention.concepts), None)) for mention in document.mentions]
    assert found == GOLD[name]
