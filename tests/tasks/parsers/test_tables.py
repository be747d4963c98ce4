"""Tables: one document per row, with columns that are named or guessed."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Document
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import Columns, Deletion, Failure, parse, table_columns
from e2emern.tasks.parsers.columns import choose_columns
from e2emern.tasks.parsers.records import RecordError
from e2emern.tasks.parsers.text import flat


def read(path: Path, content: str | bytes, columns: Columns = Columns()) -> list[tuple[object, ...]]:  # noqa: B008
    """Each document with its texts, each failure with its position and reason."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found: list[tuple[object, ...]] = []
    for record in parse(path, columns=columns):
        assert not isinstance(record, Deletion)
        assert record.record == len(found)
        if isinstance(record, Failure):
            found.append((record.document_id, record.position, record.reason))
        else:
            assert all(record.text[each.offset : each.end] == each.text for each in record.passages)
            found.append((record.document_id, record.pmid, *((each.offset, each.text) for each in record.passages)))
    return found


CSV = """\
PMID,Title,Abstract
12,"Gout, again","line one
line two"
13,x
14,"bad" q,x
,y,z
15.0, Rash ,fine

16,,
17,"unclosed,x
18,a,b
"""


def test_csv(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", CSV) == [
        ("12", 12, (0, "Gout, again"), (12, "line one line two")),
        (None, "line 4", "found 2 fields, expected 3 as in the first line"),
        (None, "line 5", "a quote is missing, or a cell is longer than 1,000,000 characters (',' expected after '\"')"),
        (None, "line 6", "no id in column 'PMID'"),
        ("15", 15, (0, " Rash "), (7, "fine")),
        ("16", 16),
        (
            None,
            "line 10",
            "a quote is missing, or a cell is longer than 1,000,000 characters up to line 11 (unexpected end of data)",
        ),
    ]


@pytest.mark.parametrize("delimiter", ["\t", ";", "|", ","])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a"])
def test_delimiters_are_found_whatever_the_name(tmp_path: Path, delimiter: str, name: str) -> None:
    content = "\ufeffdoc_id*Text*Score\r\nn1*Gout*1\r\nn2*Asthma*2".replace("*", delimiter)
    assert read(tmp_path / name, content) == [("n1", None, (0, "Gout")), ("n2", None, (0, "Asthma"))]


def test_a_row_that_is_not_utf8_or_has_a_nul_is_a_failure(tmp_path: Path) -> None:
    content = b"id,text\n1,Sj\xf6gren in gout\n2,a\0b\n3,Gout\n\xf6,Rash\n"
    latin = "the file looks like Latin-1 (Windows-1252); convert it: iconv -f WINDOWS-1252 -t UTF-8"
    assert read(tmp_path / "a.csv", content) == [
        ("1", "line 2", f"column 'text': byte 0xF6 is not UTF-8; {latin}"),
        ("2", "line 3", "column 'text' holds a NUL character"),
        ("3", None, (0, "Gout")),
        ("\\udcf6", "line 5", f"column 'id': byte 0xF6 is not UTF-8; {latin}"),
    ]


def test_a_cell_and_a_line_may_not_fill_the_memory(tmp_path: Path) -> None:
    long = "x" * 1_000_001
    assert read(tmp_path / "a.csv", f"id,text\n1,{long}\n2,Gout\n") == [
        (
            None,
            "line 2",
            "a quote is missing, or a cell is longer than 1,000,000 characters (field larger than field limit "
            "(1000000))",
        ),
        ("2", None, (0, "Gout")),
    ]
    (tmp_path / "b.csv").write_bytes(b"id,text\n1,Gout\n2," + b"x" * 17_000_000)
    records = parse(tmp_path / "b.csv")
    assert isinstance(next(records), Document)
    with pytest.raises(SourceError, match=r"line 3 is longer than 16,777,216 bytes"):
        next(records)


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "text": "Gout\\nand rash"}',
        '{"id": "2", "title": "Asthma", "abstract": null, "text": "x"}',
        "not json",
        "[]",
        "",
        '{"id": 3, "text": ["x"]}',
        '{"id": 4}',
    ]
    assert read(tmp_path / "a", "\n".join(lines)) == [
        ("1", None, (0, "Gout and rash")),
        ("2", None, (0, "Asthma"), (7, "x")),
        (
            None,
            "line 3",
            "not a JSON value (Expecting value: line 1 column 1 (char 0)); one document is expected on each line",
        ),
        (None, "line 4", "found '[]', expected an object"),
        ("3", "line 6", "column 'text' holds a value of type list, expected text"),
        (
            None,
            "line 7",
            "no text column among 'id'; name columns with --id-column, --title-column, --abstract-column or "
            "--text-column",
        ),
    ]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "pmid": pa.array([1.0, None, 3.0]),
            "abstract": pa.array(["Gout.", "Rash.", None]).dictionary_encode(),
            "score": [1, 2, 3],
            "title": pa.array([b"Tophi", b"\xff", b"Urate"]),
        }
    )
    pq.write_table(table, tmp_path / "in")
    assert read(tmp_path / "a.parquet", (tmp_path / "in").read_bytes()) == [
        ("1", 1, (0, "Tophi"), (6, "Gout.")),
        (None, "row 2", "no id in column 'pmid'"),
        ("3", 3, (0, "Urate")),
    ]
    assert str(table_columns(tmp_path / "a.parquet")) == "id from 'pmid', title from 'title', abstract from 'abstract'"


def test_a_parquet_bomb_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    bomb = pa.array(["x" * 1_000_000] * 1000).dictionary_encode()
    pq.write_table(pa.table({"id": range(1000), "text": bomb}), tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(
        SourceError, match=r"bytes hold more than 1\d\d,000,000 characters; refused as a decompression bomb$"
    ):
        list(parse(tmp_path / "bomb.parquet"))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "bomb.parquet").read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"cut.parquet: not a readable Parquet file \("):
        list(parse(tmp_path / "cut.parquet"))


def test_a_parquet_text_that_is_not_utf8_is_a_failure_and_a_flipped_bit_is_damage(tmp_path: Path) -> None:
    texts = ["Gout.", "Rash.", "Urate."]
    table = pa.table({"id": ["1", "2", "3"], "title": pa.array(texts).dictionary_encode(), "text": texts})
    for options in ({"compression": "none"}, {"compression": "none", "write_page_checksum": True}):
        pq.write_table(table, tmp_path / "in", **options)
        data = bytearray((tmp_path / "in").read_bytes())
        for start in range(len(data)):
            if data[start : start + 5] == b"Rash.":
                data[start] = 0xFF
        if "write_page_checksum" in options:
            with pytest.raises(SourceError, match=r"a.parquet: not a readable Parquet file \(.*CRC"):
                read(tmp_path / "a.parquet", bytes(data))
        else:
            damage = "column 'title': byte 0xFF is not UTF-8; the file looks like Latin-1 (Windows-1252); "
            assert read(tmp_path / "a.parquet", bytes(data)) == [
                ("1", None, (0, "Gout."), (6, "Gout.")),
                ("2", "row 2", f"{damage}convert it: iconv -f WINDOWS-1252 -t UTF-8"),
                ("3", None, (0, "Urate."), (7, "Urate.")),
            ]


@pytest.mark.parametrize(
    ("names", "given", "chosen"),
    [
        (["Score", "Article-Title", "PubMed ID"], Columns(), Columns("PubMed ID", "Article-Title")),
        (["id", "pmid", "AB", "full_text"], Columns(), Columns("id", None, "AB", "full_text")),
        (["note"], Columns(), Columns(text="note")),
        (["a", "b", "title"], Columns("a", text="b"), Columns("a", text="b")),
        (["A", "text"], Columns("a"), Columns("A", text="text")),
        (["key", "b"], Columns(text="b"), Columns("key", text="b")),
    ],
)
def test_columns_are_guessed_from_usual_names(names: list[str], given: Columns, chosen: Columns) -> None:
    assert choose_columns(names, given) == chosen


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (
            ["foo", "id"],
            Columns(),
            "no text column among 'foo', 'id'; name columns with --id-column, --title-column, ",
        ),
        ([f"c{n}" for n in range(20)], Columns(), "no text column among 'c0', 'c1', 'c2', "),
        (["id", "text"], Columns(text="body"), "no column 'body'; the columns are 'id', 'text'"),
        (["id", "text", "text"], Columns(), "2 columns are named 'text'; rename them"),
    ],
)
def test_columns_that_cannot_be_chosen(names: list[str], given: Columns, message: str) -> None:
    with pytest.raises(RecordError) as raised:
        choose_columns(names, given)
    assert str(raised.value).startswith(message)
    assert ("and 8 more" in str(raised.value)) == (len(names) == 20)


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    content = "code,report,title\nr1,Gout,not this\n"
    assert read(tmp_path / "a", content, Columns("code", text="report")) == [("r1", None, (0, "Gout"))]
    assert read(tmp_path / "a.csv", content, Columns(text="report")) == [("a.csv:1", None, (0, "Gout"))]
    assert str(table_columns(tmp_path / "a.csv")) == "ids from the row numbers, title from 'title'"
    (tmp_path / "a.txt").write_text("Gout")
    assert table_columns(tmp_path / "a.txt") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "foo,bar\n1,2\n", "no text column among 'foo', 'bar'; name columns with --id-column, "),
        ("a.csv", "id,text\n", "has column names but no rows"),
        ("a.csv", "\n", "holds nothing but spaces; expected "),
        ("a", "foo,bar\n1,2\n", "starts with 'foo,bar"),
    ],
)
def test_tables_without_documents(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(SourceError) as raised:
        read(tmp_path / name, content)
    assert raised.value.in_file.startswith(message)


ROWS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=9).filter(
            lambda text: text.strip() == text
        ),
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_each_kind_of_table_gives_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("id", "text"), *rows])
    lines = "\n".join(json.dumps({"id": key, "text": text}) for key, text in rows)
    pq.write_table(pa.table({"id": [key for key, _ in rows], "text": [text for _, text in rows]}), folder / "a.parquet")
    found = [
        read(folder / "a.csv", out.getvalue()),
        read(folder / "a.jsonl", lines),
        read(folder / "b.parquet", (folder / "a.parquet").read_bytes()),
    ]
    assert found[0] == found[1] == found[2]
    assert [each[0] for each in found[0]] == [key for key, _ in rows]
    lengths = [len(text) for _, text in rows if flat(text).strip()]
    assert [len(each[2][1]) for each in found[0] if len(each) > 2] == lengths  # type: ignore[arg-type, index]
