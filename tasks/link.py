"""Links the mentions that a PubTator file carries: the same file with its identifiers replaced.

Whatever the model does not link is left as it stands: annotations of other types keep their identifiers. Relations are
not written, since their arguments are the identifiers that were replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from model.document import Document, Text
from model.inference.cascade import Cascade
from tasks.abbreviations import find_abbreviations
from tasks.errors import InputError
from tasks.exporters.spans import SEPARATOR, UNLINKED, identifier
from tasks.parsers.pubtator import parse_pubtator
from tasks.parsers.records import Failure
from tasks.sentences import split_sentences

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
    """Links the disease and chemical mentions of a PubTator file and writes it beside `output`, then renames.

    Args:
        tell: is given each record or annotation that cannot be used; the others are linked without it.

    Raises:
        SourceError: the file is damaged; nothing is written.
        InputError: `output` is the file itself.
    """
    if output.exists() and output.samefile(path):
        raise InputError(f"{output}: is the input itself; name another file with --output")
    counts = LinkCounts()

    def documents() -> Iterator[Document]:
        for record in parse_pubtator(path):
            if isinstance(record, Document):
                yield record
            elif isinstance(record, Failure):
                counts.failures += 1
                tell(record)

    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as out:
            for chunk in _chunks(documents()):
                for document, found in zip(chunk, _link(chunk, cascade, counts, tell), strict=True):
                    out.write(_record(document, found, cascade.model.config.entity_types))
                    counts.documents += 1
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def _link(
    documents: Sequence[Document], cascade: Cascade, counts: LinkCounts, tell: Callable[[Failure], None]
) -> list[_Identifiers]:
    """The identifiers of each document's spans; a document that makes the model raise is told and has none."""
    types = cascade.model.config.entity_types
    try:
        texts = [Text(split_sentences(document), find_abbreviations(document.text)) for document in documents]
        given = [[(a.start, a.end, a.entity_type) for a in d.annotations if a.entity_type in types] for d in documents]
        mentions, _ = cascade.annotate(texts, given=given)
    except Exception as error:  # one text must never stop the others, whatever it makes the model raise
        if len(documents) > 1:
            return [each for document in documents for each in _link([document], cascade, counts, tell)]
        counts.failures += 1
        reason = f"model: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        tell(Failure(documents[0].record, "text", reason, documents[0].document_id))
        return [{}]
    linked: list[_Identifiers] = []
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


def _record(document: Document, found: _Identifiers, types: Sequence[str]) -> str:
    name = document.document_id
    lines = [f"{name}|t|{document.title}", f"{name}|a|{document.abstract}"]
    for each in document.annotations:
        identifiers = each.identifiers
        if each.entity_type in types:
            identifiers = tuple(found.get((each.start, each.end, each.entity_type), ()))
        written = SEPARATOR.join(identifiers) or UNLINKED
        lines.append("\t".join((name, str(each.start), str(each.end), each.text, each.entity_type, written)))
    return "\n".join(lines) + "\n\n"


def _chunks(documents: Iterator[Document]) -> Iterator[tuple[Document, ...]]:
    while chunk := tuple(islice(documents, CHUNK_DOCUMENTS)):
        yield chunk
