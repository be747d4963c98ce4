"""Small sound inputs of every reader, from which `tests.soak.fuzz` makes damaged ones."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tasks.mesh.files import descriptor, descriptors, medic, supplementary, supplements

_PUBMED = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "https://dtd.nlm.nih.gov/x.dtd">
<PubmedArticleSet>
<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="2">7</PMID><Article><Journal><JournalIssue><PubDate>
<Year>2021</Year><Month>Mar</Month><Day>7</Day></PubDate></JournalIssue><ISOAbbreviation>J Gout</ISOAbbreviation>
</Journal><ArticleTitle>[Gout &amp; H<sub>2</sub>O <!-- no --> in 𝛼 mice.]</ArticleTitle><Abstract>
<AbstractText Label="AIM" NlmCategory="OBJECTIVE">We ask.</AbstractText>
<AbstractText>We answer <i>it</i>.</AbstractText>
</Abstract><Language>ger</Language><VernacularTitle>Gicht.</VernacularTitle></Article></MedlineCitation></PubmedArticle>
<PubmedArticle><MedlineCitation><PMID Version="1">8</PMID><Article><ArticleTitle/></Article><OtherAbstract Type="PIP"
Language="eng"><AbstractText>Pills.</AbstractText></OtherAbstract></MedlineCitation></PubmedArticle>
<PubmedBookArticle><BookDocument><PMID Version="1">9</PMID><Book><BookTitle book="g">Genes</BookTitle></Book>
<ArticleTitle>Of genes</ArticleTitle></BookDocument></PubmedBookArticle>
<PubmedArticle><MedlineCitation><Article><ArticleTitle>None</ArticleTitle></Article></MedlineCitation></PubmedArticle>
<DeleteCitation><PMID Version="1">5</PMID><PMID>6</PMID></DeleteCitation>
</PubmedArticleSet>
"""
_MEDLINE = """
PMID- 7
OWN - NLM
DP  - 2021 Mar 7
TI  - Gout and
      urate.
AB  - AIM: We
      ask.
LA  - ger
TT  - Gicht.
TA  - J Gout

PMID- 8
TI  - [Not Available].
OAB - PIP: Pills.
OABL- eng

"""
_PUBTATOR = (
    "201|t|The patients had severe breast cancer.\n201|a|Aspirin caused renal failure and 𝛼.\n"
    "201\t24\t37\tbreast cancer\tDisease\tD001943\n201\t39\t46\tAspirin\tChemical\tMESH:D001241|D1\n"
    "201\tCID\tD001241\tD001943\n\n202|t|No patients with rash.\n202|a|\n202\t3\t11\tpatients\tSpecies\t9606\n"
)
_PASSAGES = [
    {
        "offset": 0,
        "infons": {"type": "title"},
        "text": "Gout & urate",
        "annotations": [
            {
                "id": "1",
                "infons": {"type": "Disease", "identifier": "MESH:D006073"},
                "text": "Gout",
                "locations": [{"offset": 0, "length": 4}],
            }
        ],
        "relations": [],
    },
    {
        "offset": 13,
        "infons": {"type": "abstract"},
        "text": "",
        "sentences": [{"offset": 13, "text": "It hurts.", "infons": {}, "annotations": []}],
        "annotations": [],
    },
]
_BIOC_JSON = json.dumps(
    {
        "source": "s",
        "date": "",
        "key": "",
        "infons": {},
        "documents": [{"id": "7", "infons": {"journal": "J"}, "passages": _PASSAGES}, {"id": "8", "passages": []}],
    }
)
_BIOC_XML = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>s</source><date/><key/><document><id>7</id><infon key="journal">J</infon>
<passage><infon key="type">title</infon><offset>0</offset><text>Gout &amp; urate</text>
<annotation id="1"><infon key="type">Disease</infon><infon key="identifier">MESH:D006073</infon>
<location offset="0" length="4"/><text>Gout</text></annotation></passage>
<passage><infon key="type">abstract</infon><offset>13</offset><sentence><offset>13</offset><text>It hurts.</text>
</sentence></passage></document><document><id>8</id></document></collection>
"""
_JSONL = "".join(
    json.dumps(raw) + "\n"
    for raw in (
        {
            "document_id": "7",
            "record": 0,
            "pmid": 7,
            "version": 2,
            "journal": "J",
            "published": "2021-03",
            "passages": [
                {"section": "title", "offset": 0, "text": "Old gout 𝛼"},
                {"section": "abstract", "offset": 12, "text": "Urate."},
            ],
            "annotations": [{"start": 4, "end": 8, "text": "gout", "entity_type": "Disease", "identifiers": ["D0"]}],
            "invalid_annotations": [{"position": "line 3", "kind": "no type", "reason": "'x' has no type"}],
            "mentions": [],
        },
        {
            "document_id": "x",
            "record": 1,
            "passages": [{"section": "title", "offset": 0, "text": "Rash"}],
            "pmid": None,
        },
    )
)
_DESCRIPTORS = descriptors(
    descriptor("D001943", "Breast Neoplasms", ["C04.588.180", "C17.800"], ("Cancer, Breast", "Y"), ("Tumour", "N")),
    descriptor("D001241", "Aspirin & more", ["D02.455"]),
    descriptor("D000001", "Calcimycin", []),
)
_SUPPLEMENTS = supplements(
    supplementary("C562840", "Breast Cancer, Familial", ["*D001943", "D000001"], ("Cancer", "N"), scr_class="3"),
    supplementary("C000002", "bevonium", ["*D001241"], note="a note", sources=["one"]),
)
_MEDIC = medic(
    ["Gout", "MESH:D006073", "OMIM:1|DO:DOID:1", "", "MESH:D1", "C05.550/C18.452", "C05", "Gouts|Podagra"],
    ["Rash", "OMIM:114480", "", "", "", "", "", ""],
)
_REPLACED = "old_id\tnew_id\tnote\nC000001\tD000002\tx\nC000003\tC000001\n\nC4\n"

_CSV = (
    '\ufeffpmid,title,abstract,other\n7.0,"Gout, and ""urate""","It\nhurts 𝛼.",x\n'
    "8,,Rash.,\n\n,No id,,\n9,One cell more,,,\n"
)
_TSV = "note_id\tText\tn\nA-1\tNo patients with rash.\t1\nA-2\t\t2\n"
_ROWS: list[dict[str, object]] = [
    {"id": 7, "title": "Gout 𝛼", "abstract": "Urate."},
    {"id": "x", "title": None, "text": "Rash", "more": [1, {"a": None}]},
    {"id": 1e300, "title": 0.5, "abstract": True},
]
_TABLE: dict[str, pa.Array[Any]] = {
    "pmid": pa.array([7, None, 8], pa.float64()),
    "title": pa.array(["Gout 𝛼", "", None], pa.large_string()),
    "abstract": pa.array(["It hurts.", "Rash.", "Urate."]).dictionary_encode(),
    "taken": pa.array([0, 1, None], pa.timestamp("s")),
    "parts": pa.array([[], ["a"], None], pa.list_(pa.string())),
}
_MARKDOWN = "# Gout and urate\n\nIt **hurts**\r\n𝛼.\n\n\n## More\n\n* one\n* two\n"
_TEXT = "Gout\n\n  No patients with rash.\n\fNew page\n"


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(_TABLE), file, compression="zstd", write_page_checksum=True)
    return file.getvalue()


def in_zip(files: dict[str, bytes], method: int) -> bytes:
    """Return a zip archive of these files, the same at any time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=method == zipfile.ZIP_DEFLATED) as member:
                member.write(content)
    return file.getvalue()


def in_tar(files: dict[str, bytes], form: int) -> bytes:
    """Return a tar archive of these files and a link, the same at any time."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file.getvalue()


_MEMBERS = {
    "a/notes.md": _MARKDOWN.encode(),
    "a/7.csv": _CSV.encode(),
    "ä" * 60 + "/.hidden": b"x",
    "b.pubtator": _PUBTATOR.encode(),
    "c.xml.md5": b"x",
    "c.xml": _PUBMED.encode(),
}

SUFFIXES = {"Markdown": ".md", "plain text": ".txt", "TSV": ".tsv"}
"""Suffix of the file name of a format that is recognized by it."""

SEEDS: dict[str, bytes] = {
    "Parquet": _parquet(),
    "zip": in_zip(_MEMBERS, zipfile.ZIP_DEFLATED),
    "zip, stored": in_zip(_MEMBERS, zipfile.ZIP_STORED),
    "tar": in_tar(_MEMBERS, tarfile.PAX_FORMAT),
    "tar, GNU": in_tar(_MEMBERS, tarfile.GNU_FORMAT),
} | {
    name: text.encode()
    for name, text in {
        "PubMed XML": _PUBMED,
        "MEDLINE": _MEDLINE,
        "PubTator": _PUBTATOR,
        "BioC JSON": _BIOC_JSON,
        "BioC XML": _BIOC_XML,
        "JSON lines": _JSONL,
        "CSV": _CSV,
        "TSV": _TSV,
        "rows in JSON lines": "".join(json.dumps(row) + "\n" for row in _ROWS),
        "Markdown": _MARKDOWN,
        "plain text": _TEXT,
        "MeSH descriptors": _DESCRIPTORS,
        "MeSH supplementary": _SUPPLEMENTS,
        "MEDIC": _MEDIC,
        "replaced ids": _REPLACED,
    }.items()
}
"""A sound input of each reader, by the name of its format."""

_TEXTS = (
    *("<", ">", "&", "&amp;", "&#0;", "&#xD800;", "&#1114112;", "&x;", "]]>", "<![CDATA[", "<!--", "-->", "<?x?>"),
    *("<!DOCTYPE a [<!ENTITY x 'xxxxxxxx'>]>", "<!ENTITY % y SYSTEM 'file:///etc/passwd'>", "</PubmedArticle>"),
    *("<PubmedArticle>", "<PMID>", "</PubmedArticleSet>", "<PubmedArticleSet>", "<passage>", "</document>"),
    *("{", "}", "[", "]", '"', "\\", "\\ud800", "\\u0000", "null", "true", "NaN", "Infinity", "1e999", "-1", "-0"),
    *("0", "1", "99999999999999999999", "9223372036854775808", "2147483648", "0.5", "1e5", "\u0661", "0x10", "1_0"),
    *("\t", "\n", "\r", "\r\n", "\v", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ufeff", "\u202e", "\ufffe"),
    *("|t|", "|a|", "\tDisease\t", "MESH:", "OMIM:", "D" + "9" * 40, "PMID- ", "TI  - ", "      ", "|", "#", "-"),
    *(
        ",",
        ";",
        ",,",
        '""',
        '"\n',
        "'",
        "=1+1",
        "\f",
        "pmid,title\n",
        "id\ttext\n",
        "# ",
        "\n\n",
        "../../x",
        "/etc/passwd",
    ),
    *("e\u0301", "ß", "İ", "\U0001f600", "\ud800", "\u200b", " ", "a" * 5000),
)
_BYTES = (
    b"\xff",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\xfe\xff",
    b"\x1f\x8b",
    b"\xfd7zXZ\x00",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"\x28\xb5\x2f\xfd",
    b"BZh91AY&SY",
    b"PAR1\x15",
    b"ustar\x00",
    b"\x80" + bytes(10) + b"\xff",
    b"0000777\x00",
    b"L" + bytes(11),
    bytes(512),
)
TOKENS = (*(text.encode("utf-8", "surrogatepass") for text in _TEXTS), *_BYTES)
"""What readers trip over."""
