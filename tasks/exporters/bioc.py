"""Write BioC XML and BioC JSON: one collection, document by document.

Format: Comeau et al., BioC (Database 2013), through the `bioc` package. An annotation is in the passage that contains
it; the offset and length of its location count code points from the start of the document, as `bioc` reads them. The
infons are described in docs/exports.md, to which the collection's `key` points.
"""

from __future__ import annotations

import datetime
import json
import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import BinaryIO

from bioc import BioCAnnotation, BioCCollection, BioCDocument, BioCLocation, BioCPassage
from bioc.biocjson import toJSON
from bioc.biocxml import BioCXMLDocumentWriter

from e2emern.model.document import Document, Mention, Passage
from e2emern.tasks.exporters.grouping import Span, spans
from e2emern.tasks.parsers.annotations import OFFSETS_ASSIGNED

# Characters that XML 1.0 cannot represent, even escaped.
FORBIDDEN_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ASSIGNED = "assigned"  # value of a document's infon `offsets` if the parser assigned offsets of its passages
SUBSTITUTE_IN_XML = "\N{REPLACEMENT CHARACTER}"


def write_xml(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write a BioC XML collection; the texts must be free of FORBIDDEN_IN_XML characters."""
    writer = BioCXMLDocumentWriter(out, encoding="UTF-8")
    try:
        writer.write_collection_info(_collection())
        for document, mentions in annotated:
            writer.write_document(_document(document, mentions))
    finally:
        writer.close()


def write_json(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write a BioC JSON collection: one JSON value, with one BioC document per line."""
    head = json.dumps(toJSON(_collection()), ensure_ascii=False)
    before, after = head.rsplit("[]", 1)  # the collection's empty list of documents
    out.write((before + "[").encode())
    separator = "\n"
    for document, mentions in annotated:
        line = json.dumps(toJSON(_document(document, mentions)), ensure_ascii=False)
        out.write((separator + line).encode())
        separator = ",\n"
    out.write(("\n]" + after + "\n").encode())


def _collection() -> BioCCollection:
    collection = BioCCollection()
    collection.source = "e2emern"
    collection.date = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d")
    collection.key = "docs/exports.md"
    return collection


def _document(document: Document, mentions: list[Mention]) -> BioCDocument:
    written = BioCDocument()
    written.id = document.document_id
    facts = {
        "pmid": document.pmid,
        "journal": document.journal,
        "published": document.published,
        "year": document.published and document.published[:4],  # an infon that readers of PubTator Central expect
        "language": document.language,
        "offsets": _ASSIGNED if any(each.kind == OFFSETS_ASSIGNED for each in document.invalid_annotations) else None,
    }
    written.infons = {key: str(value) for key, value in facts.items() if value is not None}
    annotations = [_annotation(str(number), span) for number, span in enumerate(spans(mentions), start=1)]
    starts = [annotation.total_span.offset for annotation in annotations]  # ascending, since spans are sorted
    for passage in document.passages:
        begun = annotations[bisect_left(starts, passage.offset) : bisect_left(starts, passage.end)]
        written.add_passage(_passage(passage, begun))
    return written


def _passage(passage: Passage, begun: list[BioCAnnotation]) -> BioCPassage:
    """Return a BioC passage; `begun` are the annotations that begin in it."""
    written = BioCPassage()
    written.infons = {"type": passage.section}
    written.offset = passage.offset
    written.text = passage.text
    for annotation in begun:
        if annotation.total_span.end <= passage.end:
            written.add_annotation(annotation)
    return written


def _annotation(name: str, span: Span) -> BioCAnnotation:
    written = BioCAnnotation()
    written.id = name
    written.text = span.text
    written.add_location(BioCLocation(span.start, span.end - span.start))
    facts = {
        "type": span.entity_type,
        "identifier": span.identifier,
        "name": span.joined(lambda mention: mention.mesh_name),
        "ner_score": span.joined(lambda mention: mention.ner_score),
        "mid_score": span.joined(lambda mention: mention.mid_score),
        "high_score": span.joined(lambda mention: mention.high_score),
        "link_score": span.joined(lambda mention: mention.link_score),
        "how": span.joined(lambda mention: mention.how),
    }
    written.infons = {key: value for key, value in facts.items() if value is not None}
    return written
