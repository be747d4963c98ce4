"""Link the mentions of a PubTator file: write the same file with their identifiers replaced.

Only the identifier column of disease and chemical mentions changes; an unlinked mention gets `-`. Everything else stays
byte for byte: texts, annotations of other types, invalid annotations, mentions without a letter or digit, relations
(their arguments keep the ids of the input), documents that cannot be used, line ends and blank lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from e2emern.model.document import Annotation, Document, InvalidAnnotation
from e2emern.model.inference.cascade import Cascade
from e2emern.tasks.documents import text_of
from e2emern.tasks.errors import InputError
from e2emern.tasks.exporters.grouping import SEPARATOR, UNLINKED, identifier
from e2emern.tasks.isolate import map_isolating_failures
from e2emern.tasks.parsers.annotations import shown, split_identifiers
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.parsers.source_reader import open_source
from e2emern.tasks.passed_over import PassedOver
from e2emern.tasks.resolve import check_spans
from e2emern.warehouse.files import atomic_write

CHUNK_DOCUMENTS = 128

_IDENTIFIERS = 5  # 0-based column
_NEXT_TEXT = re.compile(r"\|[ta]\|")  # of the next document, if files are joined without a line feed
_Place = tuple[int, int, str]  # start, end, normalized type
_Asked = tuple[Document, list[tuple[Annotation, _Place]]]  # a document and its annotations to link


@dataclass(slots=True)
class LinkCounts:
    """Counts of one file: documents, mentions to link, linked mentions, failed records, and unused annotations."""

    documents: int = 0
    mentions: int = 0
    linked: int = 0
    failures: int = 0
    passed_over: PassedOver = field(default_factory=PassedOver)


def link_file(
    path: Path, output: Path, *, cascade: Cascade, log: Callable[[Failure], None] = lambda failure: None
) -> LinkCounts:
    """Link the disease and chemical mentions of a PubTator file and write `output`, whole or not at all.

    Args:
        log: called with each record that cannot be used, and each document that the model cannot read; their lines
        are copied unchanged.

    Raises:
        SourceError: the file is damaged; nothing is written.
        InputError: see `check_spans`; or the file has no annotation of the model's types. Nothing is written.
    """
    check_spans(path, output=output)
    counts = LinkCounts()
    with atomic_write(output) as out, closing(_lines(path)) as lines:
        done = 0
        for new in _linked(path, cascade, counts, log):
            last = max(new, default=done)
            for number, line in enumerate(islice(lines, max(0, last - done)), start=done + 1):
                out.write(_relinked(line, *new[number], counts) if number in new else line)
            done = max(done, last)
        out.writelines(lines)
        if reason := counts.passed_over.reason(cascade.model.config.entity_types):
            raise InputError(reason, path=path)
    return counts


def _linked(
    path: Path, cascade: Cascade, counts: LinkCounts, log: Callable[[Failure], None]
) -> Iterator[dict[int, tuple[Annotation, list[str]]]]:
    """Yield, for each chunk, the annotations and their linked identifiers, best first, by line number from 1."""
    for chunk in _chunks(_asked(path, cascade.model.config.entity_types, counts, log)):
        new: dict[int, tuple[Annotation, list[str]]] = {}
        for (document, spans), found in zip(
            chunk, map_isolating_failures(chunk, partial(_link, cascade=cascade)), strict=True
        ):
            if isinstance(found, str):
                counts.failures += 1
                log(Failure(document.record, "text", found, document.document_id))
                continue
            for annotation, place in spans:
                assert annotation.line is not None  # every annotation of PubTator text has a line
                new[annotation.line] = annotation, found.get(place, [])
        yield new


def _asked(path: Path, types: Sequence[str], counts: LinkCounts, log: Callable[[Failure], None]) -> Iterator[_Asked]:
    """Yield each document with its annotations to link, and count the other annotations and failures."""
    for record in parse_pubtator(path):
        if isinstance(record, Failure):
            counts.failures += 1
            log(record)
        elif isinstance(record, Document):
            counts.documents += 1
            usable = counts.passed_over.usable(record, types=types)
            named = [(each, kind) for each, kind in usable if any(map(str.isalnum, each.text))]
            counts.passed_over.wordless += len(usable) - len(named)
            yield record, [(each, (each.start, each.end, kind)) for each, kind in named]


def _link(asked: Sequence[_Asked], *, cascade: Cascade) -> list[dict[_Place, list[str]]]:
    """Return the identifiers of the linked spans of each document."""
    given = [[place for _, place in spans] for _, spans in asked]
    mentions, _ = cascade.annotate([text_of(document) for document, _ in asked], given=given)
    linked: list[dict[_Place, list[str]]] = [{} for _ in asked]
    for identifiers, found in zip(linked, mentions, strict=True):
        for mention in found:
            if mention.mesh_id is not None:
                place = mention.start, mention.end, mention.entity_type
                identifiers.setdefault(place, []).append(identifier(mention.mesh_id))
    return linked


def _relinked(line: bytes, annotation: Annotation, identifiers: list[str], counts: LinkCounts) -> bytes:
    """Return a line with its identifier column replaced, or unchanged if that column holds other text too."""
    body = line.removesuffix(b"\n").removesuffix(b"\r")
    columns = body.decode("utf-8", "surrogateescape").split("\t")
    written = columns[_IDENTIFIERS] if len(columns) > _IDENTIFIERS else ""
    is_joined = _NEXT_TEXT.search(written) or split_identifiers(written) != annotation.identifiers
    if columns[3:4] != [annotation.text] or is_joined:
        reason = f"{shown(annotation.text)} shares its line with other text"
        counts.passed_over.count(InvalidAnnotation(f"line {annotation.line}", "not on a line of its own", reason))
        return line
    counts.mentions += 1
    counts.linked += bool(identifiers)
    columns[_IDENTIFIERS : _IDENTIFIERS + 1] = [SEPARATOR.join(identifiers) or UNLINKED]
    return "\t".join(columns).encode("utf-8", "surrogateescape") + line[len(body) :]


def _lines(path: Path) -> Generator[bytes, None, None]:
    """Yield the lines of a plain or compressed file with their line ends, as the parser counts them."""
    rest = b""
    with open_source(path) as source:
        for chunk in source.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"
    if rest:
        yield rest


def _chunks(asked: Iterator[_Asked]) -> Iterator[tuple[_Asked, ...]]:
    while chunk := tuple(islice(asked, CHUNK_DOCUMENTS)):
        yield chunk
