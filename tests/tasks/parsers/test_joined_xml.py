"""Several XML documents in one file: answers of E-utilities appended to a file, joined gzip members, `cat`."""

import gzip
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Document
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import Deletion, Failure, parse

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
DOCTYPE = '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "https://dtd.nlm.nih.gov/x.dtd">\n'
ERROR = "<!DOCTYPE eFetchResult>\n<eFetchResult>\n<ERROR>no such PMID</ERROR></eFetchResult>"


def article(pmid, title="Gout"):
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle></Article>"
        "</MedlineCitation></PubmedArticle>"
    )


def article_set(*records):
    return f"<PubmedArticleSet>\n{''.join(records)}</PubmedArticleSet>"


WHOLE = (
    DECLARATION + DOCTYPE + article_set(article(1), "\n", article(2)),
    article_set(article(3, "<![CDATA[</PubmedArticleSet><?xml version='1.0'?><PubmedArticleSet>]]>")),
    article_set("<!-- </PubmedArticleSet>\n<?xml ?> -->", article(4), "<?pi </PubmedArticleSet> ?>"),
    "<!-- first -->" + DOCTYPE + article_set(article(5, "Goût"))[:-1] + "\n >",
    article(6),
    article_set().replace("\n", ""),
    "<PubmedArticleSet/>",
    "<PubmedArticleSet a='/PubmedArticleSet>'/>",
    "<DeleteCitation>\n<PMID>7</PMID><PMID>x</PMID></DeleteCitation>",
    f"<MedlineCitationSet>{article(8)[len('<PubmedArticle>') : -len('</PubmedArticle>')]}</MedlineCitationSet>",
)
BETWEEN = st.text(st.sampled_from(" \n\r\t\ufeff"), max_size=6) | st.just("\n<!-- </PubmedArticleSet> -->\n<?pi ?>\n")


def records_of(content: bytes):
    """The records of a file, without their numbers, and with the line of a failure."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "source"
        path.write_bytes(content)
        records = list(parse(path))
    assert [record.record for record in records] == list(range(len(records)))
    return [
        int(record.position.removeprefix("line ")) if isinstance(record, Failure) else (type(record), record.pmid)
        for record in records
    ]


def moved(records, lines):
    return [record + lines if isinstance(record, int) else record for record in records]


@given(
    documents=st.lists(st.sampled_from(WHOLE), min_size=1, max_size=3),
    between=st.lists(BETWEEN, min_size=4, max_size=4),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-16"]),
)
@settings(max_examples=300, deadline=None)
def test_every_document_of_a_file_is_read(documents, between, cuts, encoding):
    joined, expected = between[0], []
    for document, after in zip(documents, between[1:], strict=False):
        expected += moved(records_of(document.encode()), joined.count("\n"))
        joined += document + after
    content = joined.encode(encoding)
    assert records_of(content) == expected
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    members = [gzip.compress(content[start:end]) for start, end in pairwise(bounds)]  # each is read apart
    assert records_of(b"".join(members)) == expected


def test_bytes_may_arrive_one_at_a_time():
    content = "\n".join(WHOLE).encode()
    members = b"".join(gzip.compress(content[at : at + 1]) for at in range(len(content)))
    assert records_of(members) == records_of(content)
    assert records_of(content)[-3:-1] == [(Deletion, 7), "\n".join(WHOLE[:-1]).count("\n") + 1]


def test_the_end_of_a_document_at_any_place_of_a_chunk():
    second = "\n" + article_set(article(2))
    for size in range(64 * 1024 - 60, 64 * 1024 + 60):
        first = article_set(article(1), "\n" * (size - len(article_set(article(1)))))
        assert records_of((first + second).encode()) == [(Document, 1), (Document, 2)]


def test_lines_are_those_of_the_file(write):
    long = article_set(article(1), "\n" * 70_000)
    *_, failure = parse(write(f"\n\n{long}\n{long}\n\n{DECLARATION}{article_set(article('x'))}"))
    assert failure == Failure(2, "line 140010", "PMID is 'x', expected a number above 0", "x")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("<PubmedArticleSet>\n<oops</x>", r"not well-formed XML at line 5, column 6 \(error parsing attribute name\)"),
        ("<PubmedArticleSet>\n", "ends early, in line 5 and without </PubmedArticleSet>; download it again"),
        ("<!-- cut", "ends early, in line 4 and before any XML element; download it again"),
        (DECLARATION, "ends early, in line 5 and before any XML element; download it again"),
        (
            '{"error":"API rate limit exceeded"}',
            r"line 4 holds something other than XML \(an error message of a server \(API ra",
        ),
        ("<html>\n<meta><p></html>", "line 4 holds an HTML page; download the file itself"),
        ("Gout\nand urate", r"line 4 holds something other than XML \('Gout'\); remove it"),
        (
            DECLARATION + "<!DOCTYPE PubmedArticleSet [<!ENTITY a 'b'>]>" + article_set(article(2)),
            "its DTD declares entities; refused as unsafe",
        ),
    ],
)
def test_damage_in_a_later_document(write, second, message):
    records = parse(write(f"{article_set(article(1))}\n\n{second}"))
    assert next(records).pmid == 1
    with pytest.raises(SourceError, match=message) as raised:
        next(records)
    assert len(str(raised.value).partition(": ")[2]) < 200


def test_a_document_that_is_cut_before_the_next():
    with pytest.raises(SourceError, match=r"an XML document starts within another\); the first one is truncated"):
        records_of(f"<PubmedArticleSet>\n{article(1)}\n{DECLARATION}{article_set(article(2))}".encode())


def test_an_error_message_among_the_answers_is_a_failure(write):
    first, failure, last = parse(write("\n".join([article(1), DECLARATION + ERROR, article(2)])))
    assert (first.pmid, last.pmid) == (1, 2)
    assert failure == Failure(
        1, "line 4", "an error message of E-utilities; fetch the records again; expected PubMed XML", None
    )


def test_joined_bioc(write):
    def collection(document_id):
        return (
            f"{DECLARATION}<!DOCTYPE collection SYSTEM 'BioC.dtd'>\n<collection><document><id>{document_id}</id>"
            "<passage><infon key='type'>title</infon><offset>0</offset><text>TNF-&alpha; &foo;</text></passage>"
            "</document></collection>\n"
        )

    first, second, failure = parse(write(collection(1) + collection(2) + "<other/>"))
    assert [document.text for document in (first, second)] == ["TNF-α &foo;"] * 2
    assert [(one.position, one.kind) for one in second.invalid_annotations] == [("line 6", "unknown entity")]
    assert failure == Failure(2, "line 7", "XML with root element <other>; expected BioC XML", None)


def test_a_root_with_a_prefix_that_is_not_declared_is_a_failure():
    content = article_set(article(1)) + "\n<x:List><a/></x:List>" + article_set(article(2))
    assert records_of(content.encode()) == [(Document, 1), 3, (Document, 2)]
