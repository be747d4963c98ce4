"""PubMed XML: baseline and update files, and what E-utilities return.

Format: https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd, elements described at
https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html. Text is laid out as `title + " " + abstract`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path

from lxml import etree

from model.document import Document, Passage
from tasks.parsers.annotations import shown
from tasks.parsers.records import Deletion, Failure, Record, RecordError
from tasks.parsers.xml_stream import elements, flat_text

ROOTS = frozenset({"PubmedArticleSet", "PubmedBookArticleSet", "PubmedArticle", "PubmedBookArticle", "DeleteCitation"})

_TAGS = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")
_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}")
_VERSION = re.compile(r"0*[1-9][0-9]{0,8}")
_YEAR = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def parse_pubmed(path: Path) -> Iterator[Record]:
    """Yield the records of a PubMed XML file in order: a Document, a Deletion or a Failure each.

    Every PubmedArticle and PubmedBookArticle is a record, and every PMID of a DeleteCitation.
    Raises SourceError where the file cannot be read to its end, after the records that precede the damage.
    """
    numbers = count()
    for element in elements(path, _TAGS):
        records = element.findall("PMID") if element.tag == "DeleteCitation" else [element]
        for part in records:
            record = next(numbers)
            try:
                yield _READERS[str(element.tag)](part, record)
            except RecordError as error:
                pmid = part if part.tag == "PMID" else part.find("*/PMID")
                document_id = None if pmid is None else _flat(pmid)[:100] or None
                yield Failure(record, f"line {part.sourceline}", str(error), document_id)


def _article(element: etree._Element, record: int) -> Document:
    citation = element.find("MedlineCitation")
    if citation is None:
        raise RecordError("article without MedlineCitation")
    pmid, version = _pmid(citation.find("PMID"))
    article = citation.find("Article")
    if article is None:
        raise RecordError("article without Article")
    journal = article.find("Journal")
    return Document(
        document_id=str(pmid),
        record=record,
        passages=_passages(_flat(article.find("ArticleTitle")), _abstract(article)),
        pmid=pmid,
        version=version,
        journal=None if journal is None else _flat(journal.find("Title")) or None,
        published=None if journal is None else _published(journal.find("JournalIssue/PubDate")),
        language=_flat(article.find("Language")) or None,
    )


def _book_article(element: etree._Element, record: int) -> Document:
    """A chapter has its own title; a whole book has the book's."""
    document = element.find("BookDocument")
    if document is None:
        raise RecordError("book article without BookDocument")
    pmid, version = _pmid(document.find("PMID"))
    title = _flat(document.find("ArticleTitle")) or _flat(document.find("Book/BookTitle"))
    return Document(
        document_id=str(pmid),
        record=record,
        passages=_passages(title, _abstract(document)),
        pmid=pmid,
        version=version,
        published=_published(document.find("ContributionDate")) or _published(document.find("Book/PubDate")),
        language=_flat(document.find("Language")) or None,
    )


def _deletion(element: etree._Element, record: int) -> Deletion:
    pmid, version = _pmid(element)
    return Deletion(record, pmid, version if "Version" in element.attrib else None)


_READERS: dict[str, Callable[[etree._Element, int], Document | Deletion]] = {
    "PubmedArticle": _article,
    "PubmedBookArticle": _book_article,
    "DeleteCitation": _deletion,
}


def _pmid(element: etree._Element | None) -> tuple[int, int]:
    """Read a PMID and its Version, which is 1 where there is none."""
    if element is None:
        raise RecordError("no PMID")
    number = _flat(element)
    if not _NUMBER.fullmatch(number):
        raise RecordError(f"PMID is {shown(number)}, expected a number above 0")
    version = element.get("Version", "1")
    if not _VERSION.fullmatch(version):
        raise RecordError(f"Version of PMID {number} is {shown(version)}, expected a number above 0")
    return int(number), int(version)


def _passages(title: str, abstract: str) -> tuple[Passage, ...]:
    passages = (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
    return tuple(passage for passage in passages if passage.text)


def _abstract(parent: etree._Element) -> str:
    """Join the sections, each as `LABEL: text` where it has a label."""
    parts = []
    for section in parent.findall("Abstract/AbstractText"):
        text = _flat(section)
        label = " ".join(section.get("Label", "").split()).rstrip(":")
        parts.append(f"{label}: {text}" if label and text else text)
    return " ".join(part for part in parts if part)


def _flat(element: etree._Element | None) -> str:
    """The text of an element and all its markup, with every run of whitespace as one space."""
    return "" if element is None else " ".join(flat_text(element).split())


def _published(element: etree._Element | None) -> str | None:
    """Read a date as ISO 8601, as precise as it is: a season or a range of months gives the year alone."""
    if element is None:
        return None
    parts = {str(part.tag): _flat(part) for part in element}
    year = parts.get("Year", "")
    if not _YEAR.fullmatch(year):
        found = _YEAR.search(year or parts.get("MedlineDate", ""))
        return found[0] if found else None
    month = _month(parts.get("Month", ""))
    if month is None:
        return year
    try:
        return date(int(year), month, int(parts.get("Day", "")[:2])).isoformat()
    except ValueError:  # no day, or none of that month
        return f"{year}-{month:02}"


def _month(text: str) -> int | None:
    if re.fullmatch(r"0?[1-9]|1[0-2]", text):
        return int(text)
    name = text[:3].lower()
    return _MONTHS.index(name) + 1 if name in _MONTHS else None
