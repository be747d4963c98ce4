"""Links the mentions that a PubTator file carries: the same file with its identifiers replaced.

A mention that the model links to nothing is written without an identifier. What it is not asked about keeps its own:
annotations of other types, and those of a document that it cannot read. Relations are not written, since their
arguments are the identifiers that were replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from model.document import Document
from model.inference.cascade import Cascade
from tasks.choices import check_spans
from tasks.exporters.spans import SEPARATOR, UNLINKED, identifier
from tasks.parsers.pubtator import parse_pubtator
from tasks.parsers.records import Failure
from tasks.texts import text_of
from warehouse.files import written_whole

CHUNK_DOCUMENTS = 128

_Identifiers = dict[tuple[int, int, str], list[str]]  # of a start, end and type, the best first


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
                yield record
            elif isinstance(record, Failure):
                counts.failures += 1
                tell(record)

    with written_whole(output) as out:
        for chunk in _chunks(documents()):
            for document, found in zip(chunk, _link(chunk, cascade, counts, tell), strict=True):
                out.write(_record(document, found, cascade.model.config.entity_types).encode())
                counts.documents += 1
    return counts


def _link(
    documents: Sequence[Document], cascade: Cascade, counts: LinkCounts, tell: Callable[[Failure], None]
) -> list[_Identifiers | None]:
    """The identifiers of each document's spans; a document that makes the model raise is told, and None."""
    types = cascade.model.config.entity_types
    try:
        texts = [text_of(document) for document in documents]
        given = [[(a.start, a.end, a.entity_type) for a in d.annotations if a.entity_type in types] for d in documents]
        mentions, _ = cascade.annotate(texts, given=given)
    except torch.AcceleratorError:  # the device is lost: it would fail every text that follows
        raise
    except Exception as error:  # one text must never stop the others, whatever it makes the model raise
        if len(documents) > 1:
            return [each for document in documents for each in _link([document], cascade, counts, tell)]
        counts.failures += 1
        reason = f"model: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        tell(Failure(documents[0].record, "text", reason, documents[0].document_id))
        return [None]
    linked: list[_Identifiers | None] = []
    for spans, found in zip(given, mentions, strict=True):
        identifiers: _Identifiers = {}
        for mention in found:
            if mention.mesh_id is not None:
                place = (mention.start, mention.end, mention.entity_type)
                identifiers.setdefault(place, []).append(identifier(mention.mesh_id))
        counts.mentions += len(spans)
        counts.linked += sum(span in identifiers for span in spans)
        linked.append(identifiers)
    return linked


def _record(document: Document, found: _Identifiers | None, types: Sequence[str]) -> str:
    name = document.document_id
    lines = [f"{name}|t|{document.title}", f"{name}|a|{document.abstract}"]
    for each in document.annotations:
        identifiers = each.identifiers
        if found is not None and each.entity_type in types:
            identifiers = tuple(found.get((each.start, each.end, each.entity_type), ()))
        written = SEPARATOR.join(identifiers) or UNLINKED
        lines.append("\t".join((name, str(each.start), str(each.end), each.text, each.entity_type, written)))
    return "\n".join(lines) + "\n\n"


def _chunks(documents: Iterator[Document]) -> Iterator[tuple[Document, ...]]:
    while chunk := tuple(islice(documents, CHUNK_DOCUMENTS)):
        yield chunk
