"""PubMed's text format."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Document, Passage
from e2emern.tasks.parsers import detect_format, parse
from e2emern.tasks.parsers.records import Failure

RECORD = """
PMID- 7
OWN - NLM
DP  - 2021 Mar 7
TI  - Gout and
      urate.
AB  - AIM: We
      ask.
LA  - ger
LA  - eng
TT  - Gicht.
JT  - Journal of Gout
TA  - J Gout
AU  - Doe J
SO  - J Gout. 2021 Mar 7.

"""
DOCUMENT = Document(
    document_id="7",
    record=0,
    passages=(Passage("title", 0, "Gout and urate."), Passage("abstract", 16, "AIM: We ask.")),
    pmid=7,
    journal="Journal of Gout",
    published="2021-03-07",
    language="ger",
    vernacular_title="Gicht.",
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_field_of_a_record(write, line_end):
    path = write(RECORD.replace("\n", line_end))
    assert detect_format(path) == "medline"
    assert list(parse(path)) == [DOCUMENT]


@pytest.mark.parametrize(
    ("fields", "title", "abstract", "kind"),
    [
        ("TI  - [Not Available].\nTT  - Gicht.", "", "", None),
        ("BTI - Genes", "Genes", "", None),
        ("TI  - Gout\nBTI - Genes\nCTI - Series", "Gout", "", None),
        ("TI  - Gout\nAB  -\nOAB - PIP: Pills.\nOABL- eng", "Gout", "Pills.", "PIP"),
        ("TI  - Gout\nOAB - Pills.", "Gout", "Pills.", "OAB"),
        ("TI  - Gout\nOAB - Publisher: Abstract available from the publisher.\nOABL- eng", "Gout", "", None),
        ("TI  - Gout\nOAB - Publisher: Pilules.\nOABL- fre\nOAB - KIE: Pills.\nOABL- eng", "Gout", "Pills.", "KIE"),
        ("TI  - Gout\nAB  - Own.\nOAB - PIP: Pills.\nOABL- eng", "Gout", "Own.", None),
    ],
)
def test_titles_and_abstracts(write, fields, title, abstract, kind):
    (document,) = parse(write(f"PMID- 7\n{fields}\n"))
    assert (document.title, document.abstract, document.abstract_type) == (title, abstract, kind)


@pytest.mark.parametrize(
    ("fields", "published"),
    [
        ("DP  - 2021", "2021"),
        ("DP  - 2021 Dec", "2021-12"),
        ("DP  - 2021 Feb 30", "2021-02"),
        ("DP  - 2021 Spring", "2021"),
        ("DP  - 2021 Jan-Feb", "2021"),
        ("DP  - 1998 Dec-1999 Jan", "1998"),
        ("DP  - soon", None),
        ("DP  - 1993\nCTDT- 20090630", "2009-06-30"),
        ("DP  - 1993\nCTDT- 2009/06/30", "2009-06-30"),
        ("SO  - x", None),
    ],
)
def test_dates_are_as_precise_as_the_source(write, fields, published):
    (document,) = parse(write(f"PMID- 7\n{fields}\n"))
    assert document.published == published


GOOD = "PMID- 7\nTI  - Gout\n"


@pytest.mark.parametrize(
    ("broken", "failure"),
    [
        ("TI  - Lost\n", Failure(1, "line 4", "no PMID", None)),
        ("PMID- x\nTI  - Lost\n", Failure(1, "line 4", "PMID is 'x', expected a number above 0", "x")),
        (
            "PMID- 8\nTI  - Lost\nand more\n",
            Failure(1, "line 6", "'and more' is not a field of a MEDLINE record, such as 'TI  - Gout'", "8"),
        ),
        (
            "PMID- 8\nTI  - Lost\nTI  - Found\n",
            Failure(1, "line 6", "a second TI in one record; put a blank line between records", "8"),
        ),
        (
            "id: 9 Error occurred: no such PMID\n",
            Failure(
                1,
                "line 4",
                "'id: 9 Error occurred: no such PMID' is not a field of a MEDLINE record, such as 'TI  - Gout'",
                None,
            ),
        ),
        (
            "      and more\n",
            Failure(1, "line 4", "'      and more' is not a field of a MEDLINE record, such as 'TI  - Gout'", None),
        ),
    ],
)
def test_a_malformed_record_is_a_failure_and_the_next_is_read(write, broken, failure):
    first, found, last = parse(write(f"{GOOD}\n{broken}\n{GOOD}"))
    assert found == failure
    assert (first.record, first.title, last.record, last.title) == (0, "Gout", 2, "Gout")


@pytest.mark.parametrize("between", ["", "\n", "\n\n \n"])
def test_text_of_two_records_is_never_mixed(write, between):
    """Files are joined without a blank line, even without a last line end: `PMID` begins a record all the same."""
    first, second = parse(write(f"PMID- 1\nTI  - Gout\nSO  - J 2021.{between}PMID- 2\nAB  - Pain\n"))
    assert (first.pmid, first.text) == (1, "Gout")
    assert (second.pmid, second.text) == (2, " Pain")


LINE = st.sampled_from(
    [
        "PMID- 1",
        "PMID- 2",
        "PMID-",
        "TI  - Gout",
        "AB  - Pain",
        "      more",
        "",
        "x",
        "OAB - y",
        "OABL- eng",
        "DP  - 2021",
    ]
)


@given(lines=st.lists(LINE | st.text(max_size=10), max_size=12))
@settings(max_examples=200, deadline=None)
def test_every_record_is_a_document_or_a_failure(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("medline") / "source"
    path.write_text("PMID- 3\n" + "\n".join(lines), encoding="utf-8")
    records = list(parse(path))
    assert [record.record for record in records] == list(range(len(records)))
    assert all(isinstance(record, (Document, Failure)) for record in records)
