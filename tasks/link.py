"""Links the mentions that a PubTator file carries: the same file with its identifiers replaced.

A mention that the model links to nothing is written without an identifier. What it is not asked about keeps its own:
annotations of other types, and those of a document that it cannot read. Relations are not written, since their
arguments are the identifiers that were replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from model.document import Annotation, Document
from model.inference.cascade import Cascade
from tasks.choices import check_spans
from tasks.exporters.spans import SEPARATOR, UNLINKED, identifier
from tasks.parsers.pubtator import parse_pubtator
from tasks.parsers.records import Failure
from tasks.reading import read_each
from tasks.texts import text_of
from warehouse.files import written_whole

CHUNK_DOCUMENTS = 128

_Place = tuple[int, int, str]  # start, end, type
_Identifiers = dict[_Place, list[str]]  # the best first


@dataclass(slots=True)
class LinkCounts:
    """What became of a file: documents written, its mentions of our types, how many of them were linked, failures."""

    documents: int = 0
    mentions: int = 0
    linked: int = 0
    failures: int = 0


def link_file(
    path: Path, output: Path, *, cascade: Cascade, tell: Callable[[Failure], None] = lambda failure: None
) -> LinkCounts:
    """Links the disease and chemical mentions of a PubTator file and writes `output`, whole or not at all.

    Args:
        tell: is given each record or annotation that cannot be used, and each document that the model cannot read; the
            others are linked without it.

    Raises:
        SourceError: the file is damaged; nothing is written.
        InputError: as `check_spans`.
    """
    check_spans(path, output=output)
    counts = LinkCounts()

    def documents() -> Iterator[Document]:
        for record in parse_pubtator(path):
            if isinstance(record, Document):
                for one in record.invalid_annotations:
                    counts.failures += 1
                    tell(Failure(record.record, one.position, one.reason, record.document_id))
                yield record
            elif isinstance(record, Failure):
                counts.failures += 1
                tell(record)

    with written_whole(output) as out:
        for chunk in _chunks(documents()):
            for document, found in zip(chunk, read_each(chunk, partial(_link, cascade=cascade)), strict=True):
                if isinstance(found, str):
                    counts.failures += 1
                    tell(Failure(document.record, "text", found, document.document_id))
                    found = {}
                asked = [_place(each) for each in document.annotations if _place(each) in found]
                counts.mentions += len(asked)
                counts.linked += sum(bool(found[place]) for place in asked)
                out.write(_record(document, found).encode())
                counts.documents += 1
    return counts


def _link(documents: Sequence[Document], *, cascade: Cascade) -> list[_Identifiers]:
    """The identifiers of each document's spans of our types, none of those that are linked to nothing."""
    types = cascade.model.config.entity_types
    given = [[_place(each) for each in d.annotations if each.entity_type in types] for d in documents]
    mentions, _ = cascade.annotate([text_of(document) for document in documents], given=given)
    linked: list[_Identifiers] = [{span: [] for span in spans} for spans in given]
    for identifiers, found in zip(linked, mentions, strict=True):
        for mention in found:
            if mention.mesh_id is not None:
                identifiers[mention.start, mention.end, mention.entity_type].append(identifier(mention.mesh_id))
    return linked


def _place(annotation: Annotation) -> _Place:
    return annotation.start, annotation.end, annotation.entity_type


def _record(document: Document, linked: _Identifiers) -> str:
    name = document.document_id
    lines = [f"{name}|t|{document.title}", f"{name}|a|{document.abstract}"]
    for each in document.annotations:
        identifiers = linked.get(_place(each), each.identifiers)
        written = SEPARATOR.join(identifiers) or UNLINKED
        lines.append("\t".join((name, str(each.start), str(each.end), each.text, each.entity_type, written)))
    return "\n".join(lines) + "\n\n"


def _chunks(documents: Iterator[Document]) -> Iterator[tuple[Document, ...]]:
    while chunk := tuple(islice(documents, CHUNK_DOCUMENTS)):
        yield chunk
