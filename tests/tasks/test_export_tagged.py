"""Exports for annotation tools: brat and CoNLL."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from e2emern.model.document import Document, Passage
from e2emern.tasks.errors import InputError
from e2emern.tasks.export import Exported, export
from e2emern.tasks.exporters.brat import file_name
from tests.tasks.test_export import ABSTRACT, BOTH, TITLE, WITHOUT_TEXT, _mention

BRAT = {
    "annotation.conf": "[entities]\nChemical\nDisease\n[relations]\n[events]\n[attributes]\n",
    "99000001.txt": f"{TITLE}\n{ABSTRACT}\n",
    "99000001.ann": (
        "T1\tChemical 0 9\tTamoxifen\n"
        "N1\tReference T1 MESH:D013629\tTamoxifen\n"
        "T2\tDisease 13 38\tbreast and ovarian cancer\n"
        "N2\tReference T2 MESH:D001943\tBreast Neoplasms\n"
        "N3\tReference T2 OMIM:114480\tBREAST CANCER\n"
        "T3\tDisease 62 71\thepatitis\n"
    ),
    "PMC7.txt": "Fever\nMalaria & <fever>.\nx\n",
    "PMC7.ann": "T1\tDisease 6 13\tMalaria\nN1\tReference T1 MESH:D008288\tMalaria\n",
    "99000003.txt": "",
    "99000003.ann": "",
}


def test_brat_files_in_a_folder_and_in_an_archive(tmp_path: Path) -> None:
    assert export(BOTH, tmp_path / "new" / "brat", form="brat") == Exported(documents=3, mentions=5)
    assert {path.name: path.read_bytes().decode() for path in (tmp_path / "new" / "brat").iterdir()} == BRAT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["brat"]
    export(BOTH, tmp_path / "brat.tar.gz", form="brat")
    with tarfile.open(tmp_path / "brat.tar.gz") as archive:
        assert {
            name: (archive.extractfile(name) or io.BytesIO()).read().decode() for name in archive.getnames()
        } == BRAT


def test_brat_replaces_no_folder_that_holds_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export(BOTH, tmp_path / "empty", form="brat")
    (tmp_path / "file").write_text("mine")
    for name in ("empty", "file"):
        with pytest.raises(InputError, match=f"{name}: cannot write the export: (Directory not empty|Not a directory)"):
            export([], tmp_path / name, form="brat")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
    assert len(list((tmp_path / "empty").iterdir())) == len(BRAT)


def test_brat_splits_a_span_at_line_ends(tmp_path: Path) -> None:
    document = Document("9", 0, (Passage("title", 0, "Yellow\t\nfever \n\nnow\r"), Passage("abstract", 30, "Gout")))
    mentions = [_mention(document, words, "D015004", "Yellow Fever") for words in ("Yellow\t\nfever \n\nnow", "Gout")]
    assert export([(document, mentions)], tmp_path / "out", form="brat") == Exported(1, 2, altered=1)
    text, lines = ((tmp_path / "out" / f"9.{suffix}").read_bytes().decode() for suffix in ("txt", "ann"))
    assert text == "Yellow \nfever \n\nnow \nGout\n"
    assert [line for line in lines.splitlines() if line.startswith("T")] == [
        "T1\tDisease 0 7;8 14;16 19\tYellow  fever  now",
        "T2\tDisease 21 25\tGout",
    ]
    assert (text[0:7], text[8:14], text[16:19], text[21:25]) == ("Yellow ", "fever ", "now", "Gout")


@pytest.mark.parametrize(
    ("document_id", "name"),
    [
        ("99000001", "99000001"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("a b\0\n", "a%20b%00%0A"),
        ("é", "%C3%A9"),
        ("a%2Fb", "a%252Fb"),
        ("x" * 300, "x" * 103 + "-" + hashlib.sha256(b"x" * 300).hexdigest()[:16]),
    ],
)
def test_brat_names_files_safely(document_id: str, name: str) -> None:
    assert file_name(document_id) == name


def test_conll_lines(tmp_path: Path) -> None:
    document = Document("8", 0, (Passage("title", 0, "Hepatitis-B now."), Passage("abstract", 20, "No gout? Yes 𝛽2.")))
    mentions = [
        _mention(document, "Hepatitis", "D006505", "Hepatitis"),  # inside the next
        _mention(document, "Hepatitis-B", "D006509", "Hepatitis B"),
        _mention(document, "Hepatitis-B", "1", "X"),
        _mention(document, "go", None, None),
    ]
    found = export([(document, mentions), (WITHOUT_TEXT, [])], tmp_path / "out", form="conll")
    assert found == Exported(documents=2, mentions=3, overlapping=1)
    assert (tmp_path / "out").read_bytes().decode() == (
        "-DOCSTART-\t-\t-\t8\tO\n\n"
        "Hepatitis\t0\t9\tMESH:D006509|OMIM:1\tB-Disease\n"
        "-\t9\t10\tMESH:D006509|OMIM:1\tI-Disease\n"
        "B\t10\t11\tMESH:D006509|OMIM:1\tI-Disease\n"
        "now\t12\t15\t-\tO\n"
        ".\t15\t16\t-\tO\n\n"
        "No\t20\t22\t-\tO\n"
        "go\t23\t25\t-\tB-Disease\n"
        "ut\t25\t27\t-\tO\n"
        "?\t27\t28\t-\tO\n\n"
        "Yes\t29\t32\t-\tO\n"
        "𝛽2\t33\t35\t-\tO\n"
        ".\t35\t36\t-\tO\n\n"
        "-DOCSTART-\t-\t-\t99000003\tO\n\n"
    )
    with pytest.raises(InputError, match=r"document a b .* has the id 'a b', which conll cannot represent"):
        export([(Document("a b", 0, ()), [])], tmp_path / "out", form="conll")


def test_docbin_without_spacy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(InputError, match=r"^docbin needs spaCy; install it with: pip install 'e2emern\[spacy\]'$"):
        export(BOTH, tmp_path / "out", form="docbin")
    assert list(tmp_path.iterdir()) == []
