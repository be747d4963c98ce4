"""Plain text and Markdown: one document a file, offsets into the file's own text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2emern.model.document import Document
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import parse
from e2emern.tasks.parsers.text import LONGEST_TEXT, id_of, lay_out_text


def read(path: Path, content: str | bytes) -> Document:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (document,) = parse(path)
    assert isinstance(document, Document)
    return document


def test_a_passage_is_a_block_of_lines_at_its_own_offset(tmp_path: Path) -> None:
    text = "# Gout & urate\n\nAspirin in\r\n**breast** cancer.\n \n\n- [Asthma](x.md)\n"
    document = read(tmp_path / "a note.md", text)
    assert [(each.section, each.offset, each.text) for each in document.passages] == [
        ("title", 2, "Gout & urate"),
        ("abstract", 16, "Aspirin in  **breast** cancer."),
        ("abstract", 50, "- [Asthma](x.md)"),
    ]
    assert (document.document_id, document.pmid, document.record) == ("a%20note.md", None, 0)
    assert text[30:36] == document.text[30:36] == "breast"
    assert text[53:59] == document.text[53:59] == "Asthma"


@pytest.mark.parametrize(
    ("content", "passages"),
    [
        ("Gout.", [("abstract", 0, "Gout.")]),
        ("\ufeff\n  Gout.  \n", [("abstract", 3, "Gout.")]),
        ("One line\nand another.\n\nMore.", [("abstract", 0, "One line and another."), ("abstract", 23, "More.")]),
        ("x" * 501 + "\n\ny", [("abstract", 0, "x" * 501), ("abstract", 503, "y")]),
        ("Gout\tand\x0basthma\u2028rash", [("abstract", 0, "Gout and asthma rash")]),
        ("#hashtag gout", [("abstract", 0, "#hashtag gout")]),
    ],
)
def test_layout(tmp_path: Path, content: str, passages: list[tuple[str, int, str]]) -> None:
    found = read(tmp_path / "a.txt", content).passages
    assert [(each.section, each.offset, each.text) for each in found] == passages


@given(st.text(st.sampled_from("ab #\n\r\t\u2029é𝛼\u00a0"), max_size=60))
def test_every_word_keeps_its_offset(text: str) -> None:
    passages = lay_out_text(text)
    kept: list[str] = [" "] * len(text)
    for passage in passages:
        assert not set(passage.text) & set("\n\r\t\u2029")
        kept[passage.offset : passage.end] = passage.text
    assert len(kept) == len(text)
    words = {at for at, each in enumerate(text) if not each.isspace() and each != "#"}
    assert all(kept[at] == text[at] for at in words)
    assert all(kept[at] in (text[at], " ") for at in range(len(text)))


@pytest.mark.parametrize("name", ["a.txt", "a.text", "a.MD", "a.markdown"])
def test_a_text_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, "Gout.").document_id == name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.log", b"Gout.", "starts with 'Gout.'; expected PubMed XML or MEDLINE text, "),
        ("a.txt", b"Gout\nSj\xf6gren", "line 2: byte 0xF6 is not UTF-8; the file looks like Latin-1"),
        ("a.txt", b"Gout\n\0", "line 2: a NUL character, so it is not text"),
        ("a.txt", b" \n", "holds nothing but spaces; expected "),
        ("a.txt", b"", "the file is empty; expected "),
        (
            "a.txt",
            b"x" * (LONGEST_TEXT + 1),
            "a text of more than 16,777,216 bytes; put each document into its own file or",
        ),
        ("a.txt", b"TY  - JOUR\n", "holds RIS citations; save them from PubMed in its own format"),
    ],
)
def test_content_that_is_not_text(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as raised:
        list(parse(tmp_path / name))
    assert raised.value.in_file.startswith(message)


def test_other_formats_are_read_whatever_the_name(tmp_path: Path) -> None:
    assert read(tmp_path / "a.txt", "1|t|Gout\n1|a|Urate\n").document_id == "1"
    assert read(tmp_path / "b.md", "id,text\n7,Gout\n").document_id == "7"


@given(st.text(max_size=300), st.text(max_size=300))
def test_ids_are_unique_and_fit_every_format(one: str, other: str) -> None:
    assert (id_of(one) == id_of(other)) == (one == other)
    assert not set(id_of(one)) & set("| \t\n\r\0")
    assert len(id_of(one)) <= 200


def test_ids_of_names() -> None:
    assert [id_of(name) for name in ("Müller 1.txt", "a|b%.md", "../x.txt", "n" * 201)] == [
        "Müller%201.txt",
        "a%7Cb%25.md",
        "../x.txt",
        f"{'n' * 183}~291c4194382c6bd5",
    ]


def test_a_long_blank_line_takes_linear_time() -> None:
    """Cause: a regular expression took quadratic time: hours for a million spaces."""
    (passage,) = lay_out_text(" " * 1_000_000 + "\n \n  gout \t\n\n" + " " * 1_000_000)
    assert (passage.offset, passage.text) == (1_000_005, "gout")
