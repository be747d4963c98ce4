"""Parse BioC XML, streamed document by document. DTD: https://bioc.sourceforge.net/BioC.dtd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lxml import etree

from e2emern.model.document import Document
from e2emern.tasks.parsers.bioc_document import read_document
from e2emern.tasks.parsers.records import Failure, Record
from e2emern.tasks.parsers.source_reader import Input
from e2emern.tasks.parsers.xml_stream import elements, flat_text, position_of, unknown_entities, wrong_root

ROOTS = {"collection": ("document",)}


def parse_bioc_xml(path: Input) -> Iterator[Record]:
    """Yield the records of a BioC XML file in order, each a Document or a Failure (`read_document`).

    Raises SourceError if the file cannot be read to its end, after the records that precede the damage.
    """
    for record, (element, before) in enumerate(elements(path, ROOTS)):
        position = position_of(element, before)
        if element.tag != "document":
            yield Failure(record, position, wrong_root(element, "BioC XML"))
            continue
        unknown = unknown_entities(element, before)
        for each in read_document(_document(element), record, position):
            if unknown and isinstance(each, Document):
                each = replace(each, invalid_annotations=(*each.invalid_annotations, *unknown))
            yield each


def _document(element: etree._Element) -> dict[str, object]:
    """Convert a document to the shape of BioC JSON."""
    return {
        "id": element.findtext("id"),
        "infons": _infons(element),
        "passages": [_passage(passage) for passage in element.findall("passage")],
        "annotations": _annotations(element),
    }


def _passage(element: etree._Element) -> dict[str, object]:
    """Convert a passage or a sentence: they differ only in that a sentence has no sentences."""
    return {
        "infons": _infons(element),
        "offset": element.findtext("offset"),
        "text": _text(element),
        "sentences": [_passage(sentence) for sentence in element.findall("sentence")],
        "annotations": _annotations(element),
    }


def _annotations(element: etree._Element) -> list[dict[str, object]]:
    return [
        {
            "infons": _infons(annotation),
            "text": _text(annotation),
            "locations": [dict(location.attrib) for location in annotation.findall("location")],
        }
        for annotation in element.findall("annotation")
    ]


def _infons(element: etree._Element) -> dict[str, str]:
    return {infon.get("key", ""): flat_text(infon) for infon in element.findall("infon")}


def _text(element: etree._Element) -> str | None:
    found = element.find("text")
    return None if found is None else flat_text(found)
