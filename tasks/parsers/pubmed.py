"""Parse PubMed XML and the older MEDLINE XML: baseline files, update files and answers of E-utilities.

Format: https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd, elements described at
https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html. Text is laid out as `title + " " + abstract`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from lxml import etree

from e2emern.model.document import Document
from e2emern.tasks.parsers.annotations import shown
from e2emern.tasks.parsers.citation import PMID, abstract_of, iso_date, passages, plain, title_of
from e2emern.tasks.parsers.records import Deletion, Failure, Record, RecordError
from e2emern.tasks.parsers.source_reader import Input
from e2emern.tasks.parsers.xml_stream import elements, flat_text, position_of, unknown_entities, wrong_root

ROOTS = {
    **dict.fromkeys(
        ("PubmedArticleSet", "PubmedBookArticleSet", "PubmedArticle", "PubmedBookArticle", "DeleteCitation"),
        ("PubmedArticle", "PubmedBookArticle", "DeleteCitation", "NotFound"),
    ),
    **dict.fromkeys(("MedlineCitationSet", "MedlineCitation"), ("MedlineCitation", "DeleteCitation")),
}

_VERSION = re.compile(r"0*[1-9][0-9]{0,8}")


def parse_pubmed(path: Input) -> Iterator[Record]:
    """Yield the records of a PubMed XML file in order, each a Document, a Deletion or a Failure.

    Records are every PubmedArticle, PubmedBookArticle and MedlineCitation of a MedlineCitationSet, and every PMID of a
    DeleteCitation, or of the NotFound that `tasks.ingest.pmids` adds. The English OtherAbstract is the abstract of a
    citation that has no other. Named entities without a known character are in the `invalid_annotations` of
    their Document.
    Raises SourceError if the file cannot be read to its end, after the records that precede the damage.
    """
    numbers = count()
    for element, before in elements(path, ROOTS):
        records = element.findall("PMID") if element.tag in ("DeleteCitation", "NotFound") else [element]
        for part in records:
            record = next(numbers)
            try:
                if element.tag not in _READERS:
                    raise RecordError(wrong_root(element, "PubMed XML"))
                read = _READERS[str(element.tag)](part, record)
                if isinstance(read, Document) and ("&" in read.abstract or "&" in read.title):
                    read = replace(read, invalid_annotations=unknown_entities(part, before))
                yield read
            except RecordError as error:
                pmid = part if part.tag == "PMID" else part.find("PMID" if part.tag == "MedlineCitation" else "*/PMID")
                document_id = None if pmid is None else _flat(pmid)[:100] or None
                yield Failure(record, position_of(part, before), str(error), document_id)


def _article(element: etree._Element, record: int) -> Document:
    citation = _child(element, "MedlineCitation")
    if citation is None:
        raise RecordError("article without MedlineCitation")
    return _citation(citation, record)


def _citation(citation: etree._Element, record: int) -> Document:
    pmid, version = _pmid(_child(citation, "PMID"))
    article = _child(citation, "Article")
    if article is None:
        raise RecordError("article without Article")
    journal = _child(article, "Journal")
    abstract, abstract_type = _abstract(_child(article, "Abstract")), None
    if not abstract:
        abstract, abstract_type = _other_abstract(citation)
    return Document(
        document_id=str(pmid),
        record=record,
        passages=passages(title_of(_flat(_child(article, "ArticleTitle"))), abstract),
        pmid=pmid,
        version=version,
        journal=_flat(_child(journal, "Title")) or None,
        published=_published(_child(_child(journal, "JournalIssue"), "PubDate")),
        language=_flat(_child(article, "Language")) or None,
        vernacular_title=_flat(_child(article, "VernacularTitle")) or None,
        abstract_type=abstract_type,
    )


def _book_article(element: etree._Element, record: int) -> Document:
    """Return the title of a chapter, or that of the book for a whole book."""
    document = _child(element, "BookDocument")
    if document is None:
        raise RecordError("book article without BookDocument")
    pmid, version = _pmid(_child(document, "PMID"))
    book = _child(document, "Book")
    title = title_of(_flat(_child(document, "ArticleTitle"))) or title_of(_flat(_child(book, "BookTitle")))
    return Document(
        document_id=str(pmid),
        record=record,
        passages=passages(title, _abstract(_child(document, "Abstract"))),
        pmid=pmid,
        version=version,
        published=_published(_child(document, "ContributionDate")) or _published(_child(book, "PubDate")),
        language=_flat(_child(document, "Language")) or None,
        vernacular_title=_flat(_child(document, "VernacularTitle")) or None,
    )


def _deletion(element: etree._Element, record: int) -> Deletion:
    pmid, version = _pmid(element)
    return Deletion(record, pmid, version if "Version" in element.attrib else None)


def _not_found(element: etree._Element, record: int) -> Document:
    raise RecordError("PubMed has no record of this PMID; is it mistyped, or was it deleted?")


_READERS: dict[str, Callable[[etree._Element, int], Document | Deletion]] = {
    "PubmedArticle": _article,
    "MedlineCitation": _citation,
    "PubmedBookArticle": _book_article,
    "DeleteCitation": _deletion,
    "NotFound": _not_found,
}


def _child(element: etree._Element | None, tag: str) -> etree._Element | None:
    """Return the first child with a tag; several times as fast as `find`, which parses a path."""
    return None if element is None else next(element.iterchildren(tag), None)


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


def _other_abstract(citation: etree._Element) -> tuple[str, str | None]:
    """Return the first English OtherAbstract that has text, and its Type; the DTD's default Language is English."""
    for other in citation.iterfind("OtherAbstract"):
        if other.get("Language", "eng").strip().lower() in ("eng", "en"):
            text = abstract_of(_abstract(other))
            if text:
                return text, other.get("Type", "").strip() or "OtherAbstract"
    return "", None


def _abstract(element: etree._Element | None) -> str:
    """Join the sections of an Abstract or OtherAbstract, each as `LABEL: text` if it has a label."""
    if element is None:
        return ""
    parts = []
    for section in element.iterchildren("AbstractText"):
        text = _flat(section)
        label = section.get("Label")
        if label and text and (label := " ".join(label.split()).rstrip(":")):
            text = f"{label}: {text}"
        parts.append(text)
    return " ".join(part for part in parts if part)


def _flat(element: etree._Element | None) -> str:
    """Return the text of an element and of its markup, with every run of white space as one space."""
    return "" if element is None else plain(flat_text(element))


def _published(element: etree._Element | None) -> str | None:
    if element is None:
        return None
    parts = {str(part.tag): _flat(part) for part in element}
    return iso_date(parts.get("Year") or parts.get("MedlineDate", ""), parts.get("Month", ""), parts.get("Day", ""))
