"""Tests of every format: detection, damage, memory, and the real dumps."""

import gzip
import json
import re
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from e2emern.model.document import Document
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import Failure, detect_format, parse

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pubmed(titles):
    articles = "".join(
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle>"
        f"<Abstract><AbstractText>{title}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>\n"
        for pmid, title in enumerate(titles, 1)
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n<PubmedArticleSet>{articles}</PubmedArticleSet>\n'


def pubtator(titles):
    return "".join(
        f"{pmid}|t|{title}\n{pmid}|a|{title}\n{pmid}\t0\t{len(title)}\t{title}\tDisease\tD1\n\n"
        for pmid, title in enumerate(titles, 1)
    )


def bioc_xml(titles):
    documents = "".join(
        f"<document><id>{pmid}</id>"
        f'<passage><infon key="type">title</infon><offset>0</offset><text>{title}</text></passage>'
        f'<passage><infon key="type">abstract</infon><offset>{len(title) + 1}</offset><text>{title}</text></passage>'
        "</document>\n"
        for pmid, title in enumerate(titles, 1)
    )
    return f"<collection><source/><date/><key/>{documents}</collection>"


def bioc_json(titles):
    documents = [
        {
            "id": str(pmid),
            "passages": [
                {"offset": 0, "infons": {"type": "title"}, "text": title},
                {"offset": len(title) + 1, "infons": {"type": "abstract"}, "text": title},
            ],
        }
        for pmid, title in enumerate(titles, 1)
    ]
    return json.dumps({"source": "", "documents": documents}, ensure_ascii=False)


def _exported(passage):
    return {"section": passage["infons"]["type"], "offset": passage["offset"], "text": passage["text"]}


def jsonl(titles):
    documents = json.loads(bioc_json(titles))["documents"]
    return "".join(
        json.dumps(
            {
                "document_id": raw["id"],
                "pmid": int(raw["id"]),
                "passages": [_exported(each) for each in raw["passages"]],
            },
            ensure_ascii=False,
        )
        + "\n"
        for raw in documents
    )


def medline(titles):
    return "".join(f"PMID- {pmid}\nTI  - {title}\nAB  - {title}\n\n" for pmid, title in enumerate(titles, 1))


FORMATS = {
    "pubmed": pubmed,
    "medline": medline,
    "pubtator": pubtator,
    "bioc-xml": bioc_xml,
    "bioc-json": bioc_json,
    "jsonl": jsonl,
}
EXPECTED = (
    "PubMed XML or MEDLINE text, PubTator, BioC, JSON lines, a table with column names, or a text named .txt or .md; "
    "plain, compressed, or in a zip or tar archive"
)
EVERY_FORMAT = pytest.mark.parametrize("name", list(FORMATS))


def outcome(content: bytes):
    """The records of a source before it ends, and the error it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source"
        path.write_bytes(content)
        records = []
        try:
            for record in parse(path):
                records.append(record)
        except SourceError as error:
            return records, str(error)
        return records, None


@pytest.mark.parametrize(
    ("name", "before"),
    [
        *((name, before) for name in FORMATS for before in ("", "\ufeff")),
        *((name, before) for name in FORMATS for before in ("\n\n", "\ufeff\n")),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_format_is_found_from_the_content(write, name, pack, before):
    path = write(pack((before + FORMATS[name](["Gout", "Urate"])).encode()))
    assert detect_format(path) == name
    assert [(r.record, r.pmid, r.text) for r in parse(path)] == [(0, 1, "Gout Gout"), (1, 2, "Urate Urate")]


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_xml_may_have_another_encoding(write, encoding):
    path = write(pubmed(["Goût"]).replace("utf-8", encoding).encode(encoding))
    assert [record.title for record in parse(path)] == ["Goût"]


def test_a_malformed_first_record_hides_no_format(write):
    path = write("what is this\n\n" + pubtator(["Gout"]))
    assert detect_format(path) == "pubtator"
    assert [type(record) for record in parse(path)] == [Failure, Document]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", f"source: the file is empty; expected {EXPECTED}"),
        (" \n", f"source: holds nothing but spaces; expected {EXPECTED}"),
        ("<rss><p/></rss>", f"source: XML with root element <rss>; expected {EXPECTED}$"),
        ("<!-- nothing -->", "source: holds no XML element, only comments or spaces"),
        ("<PubmedArticleSet", "source: ends early, in line 1 and before any XML element; download it again"),
        ("<html><p></html>", "source: an HTML page, not the file itself; check the address and download it again$"),
        ("\n<!DOCTYPE HTML>\n<title>", "source: an HTML page, not the file itself; check the address"),
        (
            '{"error":"API rate limit exceeded","count":"11"}',
            r"source: holds an error message of a server \(API rate limit exceeded\); download it again",
        ),
        ('{"header":{"type":"esearch"}}', "source: holds an answer of E-utilities without abstracts; fetch the rec"),
        ("<eSearchResult/>", "source: holds an answer of E-utilities without abstracts; fetch the records with efetch"),
        ("<eFetchResult><ERROR>x</ERROR></eFetchResult>", "source: holds an error message of E-utilities; fetch"),
        ("TY  - JOUR\nTI  - Gout\n", "source: holds RIS citations; save them from PubMed in its own format"),
        (
            gzip.compress(gzip.compress(b"1|t|Gout\n", mtime=0), mtime=0),
            "source: compressed twice; decompress it once$",
        ),
    ],
)
def test_a_source_of_an_unknown_format(write, content, message):
    with pytest.raises(SourceError, match=message):
        list(parse(write(content)))


@pytest.mark.parametrize("content", ["<PubmedArticleSet/>", "<collection/>", '{"documents": []}'])
def test_a_source_without_records_is_not_an_error(write, content):
    assert list(parse(write(content))) == []


def test_a_real_bomb_is_refused_at_the_default_limits(write):
    bomb = gzip.compress(b" " * 120_000_000)
    with pytest.raises(SourceError, match="refused as a decompression bomb"):
        list(parse(write(bomb)))


@given(
    content=st.binary(max_size=300),
    head=st.sampled_from([b"", b"\x1f\x8b\x08", b"<a", b"{", b"[", b"1|t|", b"<collection>"]),
)
@SETTINGS
def test_random_bytes_raise_only_our_own_error(content, head):
    outcome(head + content)
    outcome(gzip.compress(head + content))


@EVERY_FORMAT
@given(content=st.data())
@SETTINGS
def test_random_damage_raises_only_our_own_error(name, content):
    source = bytearray(FORMATS[name](["Gout", "Urate", "Pain"]).encode())
    for at in content.draw(st.lists(st.integers(0, len(source) - 1), max_size=4)):
        source[at] = content.draw(st.integers(0, 255))
    outcome(bytes(source))


@EVERY_FORMAT
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@given(data=st.data())
@SETTINGS
def test_truncation_loses_no_record_before_it(name, packed, data):
    titles = ["Goût", "Urate", "Pain", "Fever"]
    source = FORMATS[name](titles).encode()
    whole, _ = outcome(source)
    assert [record.title for record in whole] == titles
    content = gzip.compress(source) if packed else source
    kept = data.draw(st.integers(0, len(content) - 1))
    records, error = outcome(content[:kept])
    before = len(_unpacked(content[:kept]))
    complete = sum(1 for end in _ends(source, name) if end <= before)
    assert records[:complete] == whole[:complete]
    assert len(records) <= complete + 1
    text = name in ("pubtator", "jsonl", "medline")  # a cut text may be a whole one
    if packed or (not text and kept < len(source.rstrip())):
        assert error is not None


def _unpacked(content):
    return zlib.decompressobj(31).decompress(content) if content[:2] == b"\x1f\x8b" else content


def _ends(source, name):
    """Where each record is complete: at its end tag, or at its blank line."""
    ends = {
        "pubmed": b"</PubmedArticle>",
        "medline": b"\n\n",
        "pubtator": b"\n\n",
        "bioc-xml": b"</document>",
        "bioc-json": b"}]}",
    }
    end = ends.get(name, b"\n")
    return [match.end() for match in re.finditer(re.escape(end), source)]


@EVERY_FORMAT
@given(
    titles=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<&"), max_size=40),
        min_size=1,
        max_size=3,
    )
)
@SETTINGS
def test_random_unicode_is_kept(name, titles):
    records, error = outcome(FORMATS[name](titles).encode())
    assert error is None
    documents = [record for record in records if isinstance(record, Document)]
    assert [document.document_id for document in documents] == [str(pmid) for pmid in range(1, len(titles) + 1)]
    for document, title in zip(documents, titles, strict=True):
        expected = " ".join(title.split()) if name in ("pubmed", "medline") else title
        if expected.strip():
            stripped = expected.rstrip()  # spaces that end a title are dropped where the mention fits without them
            fits = name == "pubtator" and f"{stripped} {expected}"[: len(expected)] == expected
            assert document.title == (stripped if fits else expected)
            assert document.text[document.passages[1].offset :] == expected
        for annotation in document.annotations:
            assert document.text[annotation.start : annotation.end] == annotation.text


MEASURE = """
import sys
from pathlib import Path
from benchmarks.peak import peak_bytes
from e2emern.tasks.parsers import parse
before = peak_bytes()
count = sum(1 for _ in parse(Path(sys.argv[1])))
print(count, peak_bytes() - before)
"""


@EVERY_FORMAT
def test_memory_does_not_grow_with_the_file(write, name):
    title = "Gout and urate. " * 200
    path = write(FORMATS[name]([title.strip()] * 3_000))
    assert path.stat().st_size > 19_000_000
    printed = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    count, grown = map(int, printed.split())
    assert count == 3_000
    assert grown < 8 * 1024**2


def expected_count(path: Path) -> int:
    """Count the records of a dump by other means."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    name = detect_format(path)
    if name == "pubtator":
        return len(re.findall(rb"(?m)^\d+\|t\|", content))
    if name == "bioc-json":
        return content.count(b'"passages"')
    tree = etree.fromstring(content)
    paths = {"pubmed": "//PubmedArticle | //PubmedBookArticle | //DeleteCitation/PMID", "bioc-xml": "//document"}
    return len(tree.xpath(paths[name]))


def test_every_dump_is_parsed_whole(shared_data):
    paths = sorted(path for path in (shared_data / "dumps").glob("*/*") if path.is_file())
    assert len(paths) > 20
    for path in paths:
        records = list(parse(path))
        assert [record.record for record in records] == list(range(expected_count(path))), path.name
        assert not [record for record in records if isinstance(record, Failure)], path.name
        for document in (record for record in records if isinstance(record, Document)):
            text = document.text
            for passage in document.passages:
                assert text[passage.offset : passage.end] == passage.text
            for annotation in document.annotations:
                assert text[annotation.start : annotation.end] == annotation.text
