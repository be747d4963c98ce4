"""PubMed XML, and the older MEDLINE XML: baseline and update files, and what E-utilities return.

Format: https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd, elements described at
https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html. Text is laid out as `title + " " + abstract`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from lxml import etree

from model.document import Document, InvalidAnnotation
from tasks.parsers.annotations import shown
from tasks.parsers.citation import PMID, abstract_of, iso_date, passages, plain, title_of
from tasks.parsers.records import Deletion, Failure, Record, RecordError
from tasks.parsers.xml_stream import elements, flat_text, unknown_entities, wrong_root

ROOTS = {
    **dict.fromkeys(
        ("PubmedArticleSet", "PubmedBookArticleSet", "PubmedArticle", "PubmedBookArticle", "DeleteCitation"),
        ("PubmedArticle", "PubmedBookArticle", "DeleteCitation"),
    ),
    **dict.fromkeys(("MedlineCitationSet", "MedlineCitation"), ("MedlineCitation", "DeleteCitation")),
}

_VERSION = re.compile(r"0*[1-9][0-9]{0,8}")


def parse_pubmed(path: Path) -> Iterator[Record]:
    """Yield the records of a PubMed XML file in order: a Document, a Deletion or a Failure each.

    Every PubmedArticle, PubmedBookArticle and MedlineCitation of a MedlineCitationSet is a record, and every PMID of a
    DeleteCitation. The English OtherAbstract is the abstract of a citation that has no other. Named entities without
    a known character are in the `invalid_annotations` of their Document.
    Raises SourceError if the file cannot be read to its end, after the records that precede the damage.
    """
    numbers = count()
    for element, before in elements(path, ROOTS):
        records = element.findall("PMID") if element.tag == "DeleteCitation" else [element]
        for part in records:
            record = next(numbers)
            position = f"line {before + (part.sourceline or 0)}"
            try:
                if element.tag not in _READERS:
                    raise RecordError(wrong_root(element, ROOTS))
                yield _READERS[str(element.tag)](part, record, unknown_entities(part, position))
            except RecordError as error:
                pmid = part if part.tag == "PMID" else part.find("PMID" if part.tag == "MedlineCitation" else "*/PMID")
                document_id = None if pmid is None else _flat(pmid)[:100] or None
                yield Failure(record, position, str(error), document_id)


_Unknown = tuple[InvalidAnnotation, ...]


def _article(element: etree._Element, record: int, unknown: _Unknown) -> Document:
    citation = element.find("MedlineCitation")
    if citation is None:
        raise RecordError("article without MedlineCitation")
    return _citation(citation, record, unknown)


def _citation(citation: etree._Element, record: int, unknown: _Unknown) -> Document:
    pmid, version = _pmid(citation.find("PMID"))
    article = citation.find("Article")
    if article is None:
        raise RecordError("article without Article")
    journal = article.find("Journal")
    abstract, abstract_type = _abstract(article), None
    if not abstract:
        abstract, abstract_type = _other_abstract(citation)
    return Document(
        document_id=str(pmid),
        record=record,
        passages=passages(title_of(_flat(article.find("ArticleTitle"))), abstract),
        pmid=pmid,
        version=version,
        journal=None if journal is None else _flat(journal.find("Title")) or None,
        published=None if journal is None else _published(journal.find("JournalIssue/PubDate")),
        language=_flat(article.find("Language")) or None,
        vernacular_title=_flat(article.find("VernacularTitle")) or None,
        abstract_type=abstract_type,
        invalid_annotations=unknown,
    )


def _book_article(element: etree._Element, record: int, unknown: _Unknown) -> Document:
    """A chapter has its own title; a whole book has the book's."""
    document = element.find("BookDocument")
    if document is None:
        raise RecordError("book article without BookDocument")
    pmid, version = _pmid(document.find("PMID"))
    title = title_of(_flat(document.find("ArticleTitle"))) or title_of(_flat(document.find("Book/BookTitle")))
    return Document(
        document_id=str(pmid),
        record=record,
        passages=passages(title, _abstract(document)),
        pmid=pmid,
        version=version,
        published=_published(document.find("ContributionDate")) or _published(document.find("Book/PubDate")),
        language=_flat(document.find("Language")) or None,
        vernacular_title=_flat(document.find("VernacularTitle")) or None,
        invalid_annotations=unknown,
    )


def _deletion(element: etree._Element, record: int, unknown: _Unknown) -> Deletion:
    pmid, version = _pmid(element)
    return Deletion(record, pmid, version if "Version" in element.attrib else None)


_READERS: dict[str, Callable[[etree._Element, int, _Unknown], Document | Deletion]] = {
    "PubmedArticle": _article,
    "MedlineCitation": _citation,
    "PubmedBookArticle": _book_article,
    "DeleteCitation": _deletion,
}


def _pmid(element: etree._Element | None) -> tuple[int, int]:
    """Read a PMID and its Version, which is 1 if there is none."""
    if element is None:
        raise RecordError("no PMID")
    number = _flat(element)
    if not PMID.fullmatch(number):
        raise RecordError(f"PMID is {shown(number)}, expected a number above 0")
    version = element.get("Version", "1")
    if not _VERSION.fullmatch(version):
        raise RecordError(f"Version of PMID {number} is {shown(version)}, expected a number above 0")
    return int(number), int(version)


def _abstract(parent: etree._Element) -> str:
    return _sections(parent.findall("Abstract/AbstractText"))


def _other_abstract(citation: etree._Element) -> tuple[str, str | None]:
    """The first English OtherAbstract that has text, and its Type; English is what the DTD takes without a Language."""
    for other in citation.iterfind("OtherAbstract"):
        if other.get("Language", "eng").strip().lower() in ("eng", "en"):
            text = abstract_of(_sections(other.findall("AbstractText")))
            if text:
                return text, other.get("Type", "").strip() or "OtherAbstract"
    return "", None


def _sections(sections: list[etree._Element]) -> str:
    """Join the sections, each as `LABEL: text` if it has a label."""
    parts = []
    for section in sections:
        text = _flat(section)
        label = " ".join(section.get("Label", "").split()).rstrip(":")
        parts.append(f"{label}: {text}" if label and text else text)
    return " ".join(part for part in parts if part)


def _flat(element: etree._Element | None) -> str:
    """The text of an element and all its markup, with every run of white space as one space."""
    return "" if element is None else plain(flat_text(element))


def _published(element: etree._Element | None) -> str | None:
    if element is None:
        return None
    parts = {str(part.tag): _flat(part) for part in element}
    return iso_date(parts.get("Year") or parts.get("MedlineDate", ""), parts.get("Month", ""), parts.get("Day", ""))
