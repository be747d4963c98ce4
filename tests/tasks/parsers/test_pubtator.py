import pytest

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Passage
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.parsers.records import Failure

GOUT = "11|t|Gout after aspirin.\n11|a|Aspirin raised urate.\n"


def test_a_document_with_its_annotations(write):
    path = write(
        GOUT + "11\t0\t4\tGout\tDisease\tD006073\n"
        "11\t11\t18\taspirin\tChemical\tMESH:D001241\n"
        "11\tCID\tD001241\tD006073\n"
        "11\tAssociation\tD001241\tD006073\tNovel\n"
        "\n"
    )
    assert list(parse_pubtator(path)) == [
        Document(
            document_id="11",
            record=0,
            passages=(Passage("title", 0, "Gout after aspirin."), Passage("abstract", 20, "Aspirin raised urate.")),
            pmid=11,
            annotations=(
                Annotation(0, 4, "Gout", "Disease", ("D006073",)),
                Annotation(11, 18, "aspirin", "Chemical", ("MESH:D001241",)),
            ),
        )
    ]


@pytest.mark.parametrize(
    ("written", "identifiers"),
    [
        pytest.param("D006073" + " " * 1_000_000 + "x", ("D006073" + " " * 1_000_000 + "x",), id="long"),
        ("D006073", ("D006073",)),
        (" D006073 ", ("D006073",)),
        ("D006073|D001241", ("D006073", "D001241")),
        ("OMIM:300322+OMIM:102600", ("OMIM:300322", "OMIM:102600")),
        ("6647;6648", ("6647", "6648")),
        ("11796, 11797", ("11796", "11797")),
        ("6647(Tax:10090)", ("6647(Tax:10090)",)),
        ("MESH:D006073|", ("MESH:D006073",)),
        ("MESH: D006073", ("MESH:D006073",)),
        ("MESH: D006073|OMIM:\u00a0102600", ("MESH:D006073", "OMIM:102600")),
        ("-1", ("-1",)),
        ("D006073|-1", ("D006073", "-1")),
        ("-|D006073", ("-", "D006073")),
        ("CUI-less", ("CUI-less",)),
        ("None;D006073*", ("None", "D006073*")),
        ("http://id.nlm.nih.gov/mesh/D006073|mesh:D001241", ("http://id.nlm.nih.gov/mesh/D006073", "mesh:D001241")),
        ("-", ()),
        ("", ()),
        ("p|SUB|S|369|R", ("p|SUB|S|369|R",)),
        ("c|DEL|436_436+1|AG", ("c|DEL|436_436+1|AG",)),
        ("|", ("|",)),
    ],
)
def test_identifiers_are_split_if_each_part_is_one(write, written, identifiers):
    (document,) = parse_pubtator(write(GOUT + f"11\t0\t4\tGout\tDisease\t{written}\n"))
    assert document.annotations[0].identifiers == identifiers


@pytest.mark.parametrize("columns", ["", "\tD006073", "\tD006073\t0.97", "\tD006073\tgout|arthritis\tmore"])
def test_annotations_have_five_columns_or_more(write, columns):
    (document,) = parse_pubtator(write(GOUT + f"11\t0\t4\tGout\tDisease{columns}"))
    assert document.annotations[0].text == "Gout"


@pytest.mark.parametrize(
    "text",
    [
        "1|t|One\n1|a|a\n\n2|t|Two\n2|a|b\n\n",
        "1|t|One\n1|a|a\n2|t|Two\n2|a|b",
        "1|t|One\r\n1|a|a\r\n\r\n2|t|Two\r\n2|a|b\r\n",
        "\ufeff\n\n1|t|One\n1|a|a\n \n\t\n2|t|Two\n2|a|b\n",
        "1|t|One\n1|a|a\n2|a|b\n",
        "\ufeff1|t|One\n1|a|a\n\n\ufeff2|t|Two\n\ufeff2|a|b\n",
        "1|t|One\n\n1|a|a\n\n2|t|Two\n\n \n2|a|b\n",
    ],
    ids=[
        "blank line",
        "no blank line, no last newline",
        "CRLF",
        "byte order mark, blank lines",
        "no second title",
        "byte order marks of joined files",
        "blank line before the abstract",
    ],
)
def test_documents_are_distinguished(write, text):
    assert [(d.document_id, d.record, d.abstract) for d in parse_pubtator(write(text))] == [
        ("1", 0, "a"),
        ("2", 1, "b"),
    ]


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("1|t|\n1|a|Text.", (Passage("abstract", 1, "Text."),)),
        ("1|t|Title\n1|a|", (Passage("title", 0, "Title"),)),
        ("1|t|Title", (Passage("title", 0, "Title"),)),
        ("1|t|\n1|a|", ()),
        ("1|t|a|t|b\n1|a|1|a|c", (Passage("title", 0, "a|t|b"), Passage("abstract", 6, "1|a|c"))),
        ("1|t|Title \n1|a|Text.", (Passage("title", 0, "Title"), Passage("abstract", 6, "Text."))),
    ],
)
def test_texts_and_their_offsets(write, text, passages):
    (document,) = parse_pubtator(write(text))
    assert document.passages == passages


@pytest.mark.parametrize(("start", "offset"), [(6, 6), (7, 7)])
def test_a_padded_title_is_laid_out_as_its_annotations_count(write, start, offset):
    path = write(f"1|t|Title \n1|a|Gout\n1\t{start}\t{start + 4}\tGout\tDisease\tD006073\n")
    (document,) = parse_pubtator(path)
    assert document.passages[1] == Passage("abstract", offset, "Gout")
    assert document.text[start : start + 4] == "Gout"


def test_offsets_count_code_points(write):
    (document,) = parse_pubtator(write("1|t|𝛼-é gout\n1|a|x\n1\t4\t8\tgout\tDisease\tD006073\n"))
    assert document.annotations == (Annotation(4, 8, "gout", "Disease", ("D006073",)),)


def test_invalid_annotations_are_part_of_their_document(write):
    path = write(
        "9|t|Before\n\n" + GOUT + "11\t0\t4\tgout\tDisease\tD006073\n"
        "11\t0\t4\tGout\tDisease\tD006073\n"
        "11\t90\t94\tGout\tDisease\tD006073\n"
    )
    _, document = parse_pubtator(path)
    assert document.annotations == (Annotation(0, 4, "Gout", "Disease", ("D006073",)),)
    assert document.invalid_annotations == (
        InvalidAnnotation("line 5", "other words at its offsets", "found 'Gout' at 0-4, expected 'gout'"),
        InvalidAnnotation("line 7", "outside the text", "'Gout' at 90-94 lies outside the text of 0-41"),
    )


@pytest.mark.parametrize(
    ("broken", "failure"),
    [
        (
            GOUT + "\n11|a|Again.\n",
            Failure(1, "line 6", "a second |a| line with other text; expected one per document", "11"),
        ),
        (
            "11|t|Gout\r11|a|Urate\r11\t0\t4\tGout\tDisease\r\r12|t|Rash\r12|a|Fever\r",
            Failure(1, "line 3", "lines end with a carriage return, expected a line feed; convert the file", "11"),
        ),
        (
            GOUT + "11|a|Again.\n",
            Failure(1, "line 5", "a second |a| line with other text; expected one per document", "11"),
        ),
        (
            "11|t|Rash.\n" + GOUT,
            Failure(1, "line 4", "a second |t| line with other text; expected one per document", "11"),
        ),
        (
            GOUT + "11|t|Rash.\n11\t0\t4\tRash\tDisease\n",
            Failure(1, "line 5", "a second |t| line with other text; expected one per document", "11"),
        ),
        (
            "1234|t|Gout.1234|a|Urate.\n",
            Failure(1, "line 3", "'1234|a|' within a text; put a line end before it", "1234"),
        ),
        (
            "11|t|Gout.\n11|a|Urate.11\t0\t4\tGout\tDisease\n",
            Failure(1, "line 4", r"'11\t0\t4\t' within a text; put a line end before it", "11"),
        ),
        (
            "12\t0\t4\tGout\tDisease\n",
            Failure(
                1, "line 3", "found '12\\t0\\t4\\tGout\\tDisease', expected a line such as 'id|t|title' first", "12"
            ),
        ),
        (
            "11|t|Gout\n11|a|Urate.2298|t|Rash\n",
            Failure(1, "line 4", "'2298|t|' within a text; if a record begins there, put a line end before it", "11"),
        ),
        (
            b"11|t|Sj\xf6gren\n11|a|Gout\n",
            Failure(
                1,
                "line 3",
                "byte 0xF6 is not UTF-8; the file looks like Latin-1 (Windows-1252); "
                "convert it: iconv -f WINDOWS-1252 -t UTF-8",
                "11",
            ),
        ),
        (
            "11|t|Gout\n11|a|痛风\n".encode("gbk"),
            Failure(1, "line 4", "byte 0xB7 is not UTF-8; download the file again, or convert it to UTF-8", "11"),
        ),
        (
            b"11|t|Go\xc3\xbbt\xff\n",
            Failure(1, "line 3", "byte 0xFF is not UTF-8; download the file again, or convert it to UTF-8", "11"),
        ),
        (
            b"\xff1|t|Gout\n",
            Failure(
                1,
                "line 3",
                "byte 0xFF is not UTF-8; the file looks like Latin-1 (Windows-1252); "
                "convert it: iconv -f WINDOWS-1252 -t UTF-8",
                "�1",
            ),
        ),
    ],
)
def test_a_record_without_a_trusted_text_is_a_failure_and_the_next_is_read(write, broken, failure):
    content = broken if isinstance(broken, bytes) else broken.encode()
    first, found, last = parse_pubtator(write(b"1|t|One\n\n" + content + b"\n3|t|Three\n"))
    assert (first.document_id, first.record) == ("1", 0)
    assert found == failure
    assert (last.document_id, last.record) == ("3", 2)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("what is this", "not a line of the format"),
        ("11\tx", "not a line of the format"),
        ("11\t0\t4", "not a line of the format"),
        ("11\tx\t4\tGout\tDisease\tD1", "offsets are not numbers"),
        ("11\tx\t4\tGout\tDisease", "offsets are not numbers"),
        ("11\t0\t4\tGout\tDisease\tMESH:D12298|t|Rash", "not a line of the format"),
        ("11\t0\t4\tGout\tDisease\tD1\r12\t0\t4", "not a line of the format"),
        ("11\tnil\t4\tGout\tDisease\tD1", "offsets are not numbers"),
        ("11\tnil\t4\tGout\tDisease", "offsets are not numbers"),
        ("11\t0\t\tGout\tDisease\tD1", "offsets are not numbers"),
        ("11\t0.5\t4\tGout\tDisease\tD1", "offsets are not numbers"),
        ("11\t0;11\t4;18\tGout aspirin\tDisease\tD1", "discontinuous offsets"),
        ("11\t0,11\t4,18\tGout aspirin\tDisease\tD1", "discontinuous offsets"),
        ("11\t-1\t4\tGout\tDisease\tD1", "outside the text"),
        ("11\t0\t400\tGout\tDisease\tD1", "outside the text"),
        ("11\t4\t0\tGout\tDisease\tD1", "end not after start"),
        ("11\t4\t4\t\tDisease\tD1", "end not after start"),
        ("11\t1\t5\tGout\tDisease\tD1", "other words at its offsets"),
        ("11\t0\t4\tGout", "no type"),
        ("11\t0\t4\tGout\t\tD1", "no type"),
        ("12\t0\t4\tGout\tDisease\tD1", "line of another document"),
        ("11|a|Aspirin raised urate.", "text repeated"),
        (b"11\t0\t4\tGo\xfct\tDisease\tD1", "not UTF-8"),
    ],
)
def test_an_invalid_line_that_annotation_does_not_need_does_no_harm(write, line, kind):
    line = line if isinstance(line, bytes) else line.encode()
    good = b"11\t11\t18\taspirin\tChemical\tD001241\n"
    (document,) = parse_pubtator(write(GOUT.encode() + line + b"\n" + good))
    assert document.text == "Gout after aspirin. Aspirin raised urate."
    assert document.annotations == (Annotation(11, 18, "aspirin", "Chemical", ("D001241",)),)
    assert [(one.position, one.kind) for one in document.invalid_annotations] == [("line 3", kind)]


@pytest.mark.parametrize(
    "line",
    [
        "11\tCID\tD001241\tD006073",
        "11\tCID\tD001241\tD006073\t\t",
        "11\t3630\t7157\tObject:3630|0.91",
        "11\tAssociation\t3630\tD006073\tNovel",
        "11\tAssociation|0.98\t3630\tD006073\tNovel|0.7",
        "11\t3630\tD006073\tSubject:3630|0.91",
        "11\t3630\t1080\tSubject:3630|0.91",
    ],
)
def test_relations_are_skipped(write, line):
    (document,) = parse_pubtator(write(GOUT + line + "\n"))
    assert (document.annotations, document.invalid_annotations) == ((), ())


@pytest.mark.parametrize(
    "line",
    [
        "11\tCID\tD001241",
        "11\tD001241\tD006073",
        "11\t3630\tD006073",
        "11\tAssociation\tD001241\tD006073\tNovel\t0.99",
        "11\tAssociation\t3630\t7157\tNovel\t0.99\tmore",
    ],
)
def test_relations_with_other_columns_are_reported_without_loss(write, line):
    (document,) = parse_pubtator(write(GOUT + line + "\n"))
    assert (document.abstract, document.annotations) == ("Aspirin raised urate.", ())
    assert [invalid.position for invalid in document.invalid_annotations] == ["line 3"]


def test_the_same_record_again_is_another_record(write):
    assert [(one.record, one.abstract) for one in parse_pubtator(write(GOUT + GOUT))] == [
        (0, "Aspirin raised urate."),
        (1, "Aspirin raised urate."),
    ]


def test_offsets_may_be_numbers_without_a_fraction_and_lines_may_end_with_tabs(write):
    (document,) = parse_pubtator(write(GOUT + "11\t0.0\t4.00\tGout\tDisease\tD006073\t\t\n"))
    assert document.annotations == (Annotation(0, 4, "Gout", "Disease", ("D006073",)),)


def test_annotations_belong_to_their_document_across_blank_lines(write):
    (document,) = parse_pubtator(write(GOUT + "\n11\t0\t4\tGout\tDisease\tD006073\n"))
    assert document.annotations == (Annotation(0, 4, "Gout", "Disease", ("D006073",)),)


@pytest.mark.parametrize(("document_id", "pmid"), [("7", 7), ("PMC7", None), ("9" * 30, None)])
def test_only_a_number_is_a_pmid(write, document_id, pmid):
    (document,) = parse_pubtator(write(f"{document_id}|t|Title\n"))
    assert (document.document_id, document.pmid) == (document_id, pmid)


def test_a_carriage_return_within_a_text_does_not_end_a_line(write):
    (document,) = parse_pubtator(write("1|t|Title\n1|a|One\rtwo|three \r\t.\n"))
    assert document.abstract == "One\rtwo|three \r\t."


def test_an_endless_line_is_refused(write, monkeypatch):
    monkeypatch.setattr("e2emern.tasks.parsers.source_reader.MAX_LINE", 1000)
    records = parse_pubtator(write(b"1|t|One\n\n2|t|" + b"x" * 200_000))
    assert next(records).document_id == "1"
    with pytest.raises(SourceError, match=r"line 3 is longer than 1,000 bytes"):
        list(records)
