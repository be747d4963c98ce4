"""Terminal output, compared with literal plain text; colour is checked by its escape sequences."""

from __future__ import annotations

import io
import re
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from e2emern.flows.cli.terminal import (
    Level,
    Summary,
    VisibleConsole,
    show_document,
    show_line,
    show_summary,
    show_table,
)
from e2emern.model.document import Document, Mention, Passage
from e2emern.warehouse import schemas


def _console(*, colour: bool = False, width: int = 40) -> tuple[VisibleConsole, io.StringIO]:
    out = io.StringIO()
    if colour:
        return VisibleConsole(file=out, width=width, force_terminal=True, color_system="truecolor", no_color=False), out
    return VisibleConsole(file=out, width=width, force_terminal=False), out


def _mention(document: Document, words: str, mesh_id: str | None, name: str | None, kind: str = "Disease") -> Mention:
    start = document.text.index(words)
    return Mention(start, start + len(words), words, kind, 0, 0.9, mesh_id=mesh_id, mesh_name=name)


TITLE = "Breast and ovarian cancer after tamoxifen [𝛽]"
DOCUMENT = Document("99000001", 0, (Passage("title", 0, TITLE), Passage("abstract", 50, "A cough. Tamoxifen.")))
MENTIONS = [
    _mention(DOCUMENT, "Breast and ovarian cancer", "D001943", "Breast Neoplasms"),
    _mention(DOCUMENT, "Breast and ovarian cancer", "D010051", "Ovarian Neoplasms"),
    _mention(DOCUMENT, "tamoxifen", "D013629", "Tamoxifen", "Chemical"),
    _mention(DOCUMENT, "cough", None, None),
    _mention(DOCUMENT, "Tamoxifen", "D013629", "Tamoxifen", "Chemical"),
]


def test_a_document_without_colour() -> None:
    console, out = _console()
    show_document(DOCUMENT, MENTIONS, console=console)
    assert out.getvalue() == (
        "99000001\n"
        "[Breast and ovarian cancer|D001943|D010051] after [tamoxifen|D013629] [𝛽]\n"
        "A [cough|-]. [Tamoxifen|D013629].\n"
    )


def test_nested_and_crossing_mentions_keep_their_ends() -> None:
    document = Document("1", 0, (Passage("title", 0, "colon cancer pain relief"),))
    mentions = [
        _mention(document, "colon cancer pain", "D1", None),
        _mention(document, "cancer", "D2", None),
        _mention(document, "pain relief", "D3", None),
    ]
    console, out = _console()
    show_document(document, mentions, console=console)
    assert out.getvalue() == "1\n[colon [cancer|D2] [pain|D1] relief|D3]\n"


def test_a_document_in_colour_names_a_concept_once() -> None:
    console, out = _console(colour=True, width=200)
    show_document(DOCUMENT, MENTIONS, console=console)
    red, blue, end = "\x1b[4;38;2;26;26;26;48;2;255;138;128m", "\x1b[21;38;2;26;26;26;48;2;168;216;255m", "\x1b[0m"
    assert out.getvalue() == (
        f"\x1b[1m99000001{end}\n"
        f"{red}Breast and ovarian cancer{end}\x1b[3m D001943 Breast Neoplasms, D010051 Ovarian Neoplasms{end}"
        f" after {blue}tamoxifen{end}\x1b[3m D013629 Tamoxifen{end} [𝛽]\n"
        f"A {red}cough{end}\x1b[3m -{end}. {blue}Tamoxifen{end}\x1b[3m D013629{end}.\n"
    )


def test_no_color_marks_mentions_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = VisibleConsole(file=out, width=200, force_terminal=True, color_system="truecolor")
    show_document(DOCUMENT, MENTIONS, console=console)
    assert "A [cough|-]. [Tamoxifen|D013629].\n" in out.getvalue()


def test_text_cannot_drive_the_terminal() -> None:
    document = Document("\x1b[31m7", 0, (Passage("title", 0, "gout\x1b]0;x\x07 \x9b2J gout"),))
    console, out = _console()
    show_document(document, [_mention(document, "gout", "D006073", "Gout")], console=console)
    show_table([{"a\x1b": "b\x1bc"}], console=console)
    assert out.getvalue() == ("�[31m7\n[gout|D006073]�]0;x� �2J gout\n+-----+\n| a�  |\n+-----+\n| b�c |\n+-----+\n")


def test_a_name_with_line_ends_stays_on_its_line() -> None:
    console, out = _console(width=10)
    show_line("stopped: new\nline.txt: [b]gone\x1b[31m", console=console)
    assert out.getvalue() == "stopped: new line.txt: [b]gone�[31m\n"


def lines_of(rows: pa.Table, *, width: int) -> list[str]:
    """The output of a table on a terminal of some width, without colours and frame."""
    console, out = _console(colour=True, width=width)
    show_table(rows, console=console)
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line).rstrip() for line in out.getvalue().splitlines()]
    return [line for line in lines if line.strip(" ─")]


LONG = "Nephrogenic diabetes insipidus\nafter lithium"
ORIGIN = {"source": "pubmed26n0001.xml.gz", "digest": "0123456789abcdef"}
ROWS = [
    ORIGIN | {"document_id": "99000001", "title": LONG, "n": 7},
    ORIGIN | {"document_id": "99000002", "title": "Gout", "n": 1234567},
]


def test_a_long_text_is_cut_to_the_width_of_the_terminal_on_one_line() -> None:
    """Titles were folded into columns of eight letters."""
    assert lines_of(pa.Table.from_pylist(ROWS), width=110) == [
        "  source                 digest             document_id   title                                            n",
        "  pubmed26n0001.xml.gz   0123456789abcdef   99000001      Nephrogenic diabetes insipidus after li…         7",
        "  pubmed26n0001.xml.gz   0123456789abcdef   99000002      Gout                                       1234567",
    ]


def test_columns_that_do_not_fit_are_left_out_and_named() -> None:
    """Provenance columns are left out first, then columns from the right."""
    assert lines_of(pa.Table.from_pylist(ROWS), width=48) == [
        "  document_id   title                        n",
        "  99000001      Nephrogenic diabete…         7",
        "  99000002      Gout                   1234567",
        "2 columns not shown: source, digest; widen the terminal",
    ]
    assert lines_of(pa.Table.from_pylist(ROWS), width=40) == [
        "  document_id   title",
        "  99000001      Nephrogenic diabetes …",
        "  99000002      Gout",
        "3 columns not shown: source, digest, n; widen the terminal",
    ]


def test_a_single_column_wider_than_the_terminal_gets_longer_lines() -> None:
    assert lines_of(pa.table({"text_sha256": ["0123456789abcdef"]}), width=12) == [
        "  text_sha256",
        "  0123456789abcdef",
    ]


def test_dates_and_times_are_not_cut() -> None:
    moment = pa.array([datetime(2026, 1, 2, 3, 4, 5)])
    assert lines_of(pa.table({"a text": ["x y " * 20], "created": moment}), width=44) == [
        "  a text               created",
        "  x y x y x y x y x…   2026-01-02 03:04:05",
    ]


def typical(field: pa.Field) -> Any:
    """A value for a column, of realistic length."""
    kind, name = field.type, field.name
    if pa.types.is_list(kind):
        return []
    if pa.types.is_floating(kind):
        return 0.123456
    if pa.types.is_integer(kind):
        return 99000001 if name == "pmid" else 12
    codes = {"text_sha256": "0123456789abcdef" * 4, "digest": "0123456789abcdef", "document_id": "99000001"}
    return codes.get(name, "A title of some words that is longer than a terminal" if name == "title" else "two words")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("schema", [schemas.DOCUMENTS, schemas.MENTIONS], ids=["documents", "mentions"])
def test_tables_of_the_warehouse_fit_every_terminal(schema: pa.Schema, width: int) -> None:
    rows = pa.Table.from_pylist([{field.name: typical(field) for field in schema}] * 2, schema=schema)
    header, first, second, *rest = lines_of(rows, width=width)
    assert max(map(len, (header, first, second))) <= width
    shown = header.split()
    missing = [name for name in schema.names if name not in shown]
    noun = "1 column" if len(missing) == 1 else f"{len(missing)} columns"
    assert rest == ([f"{noun} not shown: {', '.join(missing)}; widen the terminal"] if missing else [])
    assert "document_id" in shown
    assert first == second
    assert "99000001" in first
    for name in ("digest", "text_sha256"):
        assert (typical(schema.field(name)) in first) == (name in shown) if name in schema.names else True


def test_a_table_without_colour_is_not_wrapped() -> None:
    console, out = _console(width=10)
    rows = pa.table(
        {
            "mesh_name": ["Breast Neoplasms", None],
            "mentions": [1200, 7],
            "score": [0.25, None],
            "tree": [["C04.588", "C17"], []],
        }
    )
    show_table(rows, console=console)
    assert out.getvalue() == (
        "+------------------+----------+-------+--------------+\n"
        "| mesh_name        | mentions | score | tree         |\n"
        "+------------------+----------+-------+--------------+\n"
        "| Breast Neoplasms |     1200 |  0.25 | C04.588, C17 |\n"
        "| null             |        7 |  null |              |\n"
        "+------------------+----------+-------+--------------+\n"
    )


def test_rows_print_as_a_table() -> None:
    console, out = _console()
    show_table([{"name": "gout", "n": 2}, {"name": "[b]x[/b]", "n": 10}], console=console)
    assert out.getvalue() == (
        "+----------+----+\n"
        "| name     |  n |\n"
        "+----------+----+\n"
        "| gout     |  2 |\n"
        "| [b]x[/b] | 10 |\n"
        "+----------+----+\n"
    )


def test_no_rows_print_as_their_column_names() -> None:
    console, out = _console()
    show_table(pa.table({"mesh_id": pa.array([], pa.string())}), console=console)
    show_table([], console=console)
    assert out.getvalue() == "+---------+\n| mesh_id |\n+---------+\n+---------+\n"


def test_summary() -> None:
    console, out = _console()
    levels = [
        Level("low", "spans found", 812, seconds=61.5),
        Level("mid", "candidates scored", 52_000_000, seconds=3.25),
        Level("high", "mentions linked", 640, seconds=3725),
    ]
    show_summary(Summary(1250, 640, 91, 1, seconds=50.0, levels=levels), console=console)
    assert out.getvalue() == (
        "1,250 documents, 640 mentions of 91 concepts, 1 failure in 50.0 s (25.0 documents/s)\n"
        "  low          812 spans found        1 min 2 s\n"
        "  mid   52,000,000 candidates scored  3.2 s\n"
        "  high         640 mentions linked    1 h 2 min\n"
    )


def test_summary_of_nothing() -> None:
    console, out = _console()
    show_summary(Summary(0, 0, 0, 0, seconds=0.0), console=console)
    assert out.getvalue() == "0 documents, 0 mentions of 0 concepts, 0 failures in 0.0 s (0.0 documents/s)\n"
