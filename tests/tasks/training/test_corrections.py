"""Corrected documents: good ones are used, bad ones are reported, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.tasks.errors import InputError
from e2emern.tasks.training.corrections import Refused, read_corrections
from tests.model import tiny

GOOD = "7|t|Cisplatin and fever.\n7|a|\n7\t0\t9\tCisplatin\tChemical\tMESH:C007\n7\t14\t19\tfever\tDisease\t-1\n\n"
DISEASES = "8|t|Breast cancer.\n8|a|\n8\t0\t13\tBreast cancer\tSpecificDisease\t114480|D002\n\n"


def read(folder: Path, **files: str) -> tuple[dict[str, tuple[str, ...]], dict[str, int], list[tuple[str, ...]]]:
    """The types of each document used, the documents of each file, and what was refused."""
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    found = read_corrections(folder, vocabulary=tiny.vocabulary(), judged=["99"])
    refused = [(one.file, one.position, str(one.document_id), one.reason) for one in found.refused]
    return {one.document_id: one.annotated_types for one in found.documents}, found.files, refused


def test_a_file_marks_the_types_that_occur_in_it(tmp_path: Path) -> None:
    documents, files, refused = read(tmp_path, a=GOOD, b=DISEASES)
    assert documents == {"7": ("Disease", "Chemical"), "8": ("Disease",)}
    assert files == {"a.txt": 1, "b.txt": 1}
    assert refused == []
    document = read_corrections(tmp_path, vocabulary=tiny.vocabulary()).documents[0]
    assert (document.corpus, document.split, document.text) == ("corrections", "train", "Cisplatin and fever.")
    assert [(m.start, m.end, m.entity_type, m.concepts) for m in document.mentions] == [
        (0, 9, "Chemical", ("MESH:C007",)), (14, 19, "Disease", ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("1|t|Fever.\n1|a|\n1\t0\t4\tFever\tDisease\tD005\n",
         ("line 3", "1", "found 'Feve' at 0-4, expected 'Fever'")),
        ("1|t|Fever.\n1|a|\n1\t0\t5\tFever\tDisease\tD777\n",
         ("record 0", "1", "D777 of 'Fever' is not a concept of MeSH tiny")),
        ("1|t|Fever.\n1|a|\n",
         ("record 0", "1", "no mention of a Disease or Chemical; perhaps nobody has corrected it")),
        ("1|t|Fever.\n1|a|\n1\t0\t5\tFever\tGene\t1\n",
         ("record 0", "1",
          "0 of 1 annotation usable: found 1 Gene, expected Disease or Chemical in any known spelling")),
        ("1|t|Fever.\n1|a|Once.\n1|a|Again.\n",
         ("line 3", "1", "a second |a| line with other text; expected one per document")),
        (GOOD, ("document", "7", "is also in a.txt")),
        (DISEASES.replace("8", "99", 1).replace("\n8", "\n99"),
         ("document", "99", "is also in the documents that models are compared on")),
        ("", ("file", "None", "the file is empty; expected PubTator text")),
    ],
)  # fmt: skip
def test_unusable_documents_are_reported_and_do_not_stop_others(
    tmp_path: Path, text: str, refused: tuple[str, str, str]
) -> None:
    after = GOOD.replace("7|", "70|").replace("\n7\t", "\n70\t")
    documents, files, refusals = read(tmp_path, a=GOOD, b=text, c=after)
    assert list(documents) == ["7", "70"]
    assert files == {"a.txt": 1, "b.txt": 0, "c.txt": 1}
    assert [(file, *rest) for file, *rest in refusals] == [("b.txt", *refused)]


def test_a_bad_document_does_not_affect_its_neighbours(tmp_path: Path) -> None:
    bad = "1|t|Fever.\n1|a|\n1\t0\t4\tFever\tDisease\tD005\n\n"
    documents, files, refusals = read(tmp_path, a=GOOD + bad + DISEASES)
    assert list(documents) == ["7", "8"]
    assert files == {"a.txt": 2}
    assert [(position, document) for _, position, document, _ in refusals] == [("line 8", "1")]


def test_spellings_are_known_and_other_types_are_counted(tmp_path: Path) -> None:
    text = (
        "7|t|Cisplatin and fever.\n7|a|\n7\t0\t9\tCisplatin\tDRUG\tmesh:C007\n7\t14\t19\tfever\tdisease\tCUI-less\n"
        "7\t0\t9\tCisplatin\tGene\t1\n7\t0\t9\tCisplatin\tSpecies\t1\n7\t0\t9\tCisplatin\tGene\t1\n"
    )
    (tmp_path / "a.txt").write_text(text)
    found = read_corrections(tmp_path, vocabulary=tiny.vocabulary())
    (document,) = found.documents
    assert [(m.entity_type, m.concepts) for m in document.mentions] == [("Chemical", ("mesh:C007",)), ("Disease", ())]
    assert found.passed_over == {"a.txt": {"Gene": 2, "Species": 1}}


def test_without_a_folder_there_are_no_corrections_and_a_wrong_one_is_reported(tmp_path: Path) -> None:
    assert read_corrections(None, vocabulary=tiny.vocabulary()).documents == ()
    assert read_corrections(tmp_path, vocabulary=tiny.vocabulary()).refused == ()
    with pytest.raises(InputError, match="none: no such folder of corrections"):
        read_corrections(tmp_path / "none", vocabulary=tiny.vocabulary())
    assert Refused("a", "line 1", None, "why").document_id is None
