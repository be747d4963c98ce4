"""Annotates one source: dump file in, five Parquet files out, every record accounted for.

While the model reads one chunk of documents, a thread parses and splits the next. The mentions file is the last to take
its name, so its presence says that the source is done; a run that dies before leaves nothing that counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from model.cascade import Cascade, Report, Text
from model.document import Document, Mention
from tasks.abbreviations import find_abbreviations
from tasks.errors import SourceError
from tasks.parsers import Deletion, Failure, detect_format, parse
from tasks.sentences import split_sentences
from tasks.sources import Source
from warehouse.layout import Home
from warehouse.ledger import SourceBooks, SourceCounts, read_books
from warehouse.parquet import TableWriter
from warehouse.schemas import DELETIONS, DOCUMENTS, FAILURES, MENTIONS

CHUNK_DOCUMENTS = 256
CHUNK_CHARACTERS = 1_000_000  # full texts are long: so many abstracts' worth

_MISFIT = "annotation: "  # how a parser begins the reason of a Failure that is no record
_MENTION_FIELDS = [each.name for each in fields(Mention)]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """What became of one source. `report` holds the seconds of each stage; `parse` and `split` overlap the others."""

    books: SourceBooks
    mentions: int = 0
    concepts: frozenset[str] = frozenset()
    report: Report = field(default_factory=Report)


def annotate_source(
    source: Source, *, cascade: Cascade, home: Home, watch: Callable[[int], None] = lambda documents: None
) -> Annotated:
    """Annotate every document of a source and write its documents, deletions, failures and mentions.

    `watch` is told how many more documents are done. A document that the model cannot read becomes a failure. Of a
    damaged source the records that precede the damage are kept, and the damage itself is a failure.
    Raises SourceError where not even one record can be read, or the file changes while it is read.
    """
    form = detect_format(source.path)
    tally = _Tally()
    with _Tables(home, source, cascade) as tables:
        for chunk in _ahead(_chunks(source.path)):
            tally.report += chunk.report
            found = _read(chunk, cascade, tally.report)
            with tally.report.timed("write"):
                tables.append(chunk, found)
            tally.add(chunk, found)
            watch(len(chunk.documents))
        if source.path.stat().st_size != source.bytes:
            raise SourceError(f"{source.path}: changed while it was read; annotate it again when it is complete")
        with tally.report.timed("write"):
            books = SourceBooks(
                key=source.key,
                format=form,
                bytes=source.bytes,
                counts=tally.counts(),
                status="damaged" if tally.damage else "complete",
                error=tally.damage,
            )
            books.counts.check(source=source.key.name)
            tables.finish(books)
    return Annotated(books=books, mentions=tally.mentions, concepts=frozenset(tally.concepts), report=tally.report)


def already_annotated(source: Source, *, home: Home, model_version: str, mesh_version: str) -> SourceBooks:
    """Return the books of a source that is done. Raises WarehouseError where they cannot be read."""
    return read_books(home.mentions(source.key, model_version=model_version, mesh_version=mesh_version))


@dataclass(slots=True)
class _Chunk:
    """The next records of a source. `texts` stand beside `documents`, or why one was not made; `damage` is the end."""

    documents: list[Document] = field(default_factory=list)
    texts: list[Text | str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    damage: str | None = None
    report: Report = field(default_factory=Report)


@dataclass(slots=True)
class _Tally:
    """Counts the records of a source while its chunks go by."""

    documents: int = 0
    without_text: int = 0
    unread: int = 0  # documents that the model could not read
    unusable: int = 0  # records that never became documents
    misfits: int = 0
    deleted: int = 0
    mentions: int = 0
    concepts: set[str] = field(default_factory=set)
    damage: str | None = None
    report: Report = field(default_factory=Report)

    def add(self, chunk: _Chunk, found: Sequence[list[Mention] | str]) -> None:
        misfits = sum(failure.reason.startswith(_MISFIT) for failure in chunk.failures)
        self.documents += len(chunk.documents)
        self.without_text += sum(isinstance(text, Text) and not text.sentences for text in chunk.texts)
        self.unread += sum(isinstance(one, str) for one in found)
        self.misfits += misfits
        self.unusable += len(chunk.failures) - misfits
        self.deleted += len(chunk.deletions)
        self.damage = chunk.damage
        for one in found:
            if not isinstance(one, str):
                self.mentions += len(one)
                self.concepts.update(mention.mesh_id for mention in one if mention.mesh_id)

    def counts(self) -> SourceCounts:
        return SourceCounts(
            parsed=self.documents + self.unusable + self.deleted,
            documents=self.documents,
            annotated=self.documents - self.without_text - self.unread,
            without_text=self.without_text,
            failed=self.unusable + self.unread,
            deleted=self.deleted,
            misfits=self.misfits,
        )


class _Tables:
    """The files of a source, which take their names when the block ends well, the mentions last."""

    def __init__(self, home: Home, source: Source, cascade: Cascade) -> None:
        key = source.key
        self._versions = {"model_version": cascade.model_version, "mesh_version": cascade.mesh_version}
        self._origin = {"source": key.name, "digest": key.digest}
        self._mentions = TableWriter(home.mentions(key, **self._versions), MENTIONS)
        self._unread = TableWriter(home.unread(key, **self._versions), FAILURES)
        self._failures = TableWriter(home.failures(key), FAILURES)
        self._deletions = TableWriter(home.deletions(key), DELETIONS)
        self._documents = TableWriter(home.documents(key), DOCUMENTS)

    def __enter__(self) -> _Tables:
        with ExitStack() as stack:
            for writer in (
                self._mentions,
                self._unread,
                self._failures,
                self._deletions,
                self._documents,
            ):  # left in reverse
                stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def append(self, chunk: _Chunk, found: Sequence[list[Mention] | str]) -> None:
        """Add the records of a chunk and what was found in each document: mentions, or why it could not be read."""
        origin = self._origin
        unread = [
            Failure(document.record, "text", one, document.document_id)
            for document, one in zip(chunk.documents, found, strict=True)
            if isinstance(one, str)
        ]
        self._documents.append([origin | _document_row(document) for document in chunk.documents])
        self._deletions.append([origin | {"record": each.record, "pmid": each.pmid} for each in chunk.deletions])
        self._failures.append([origin | _fields(failure) for failure in chunk.failures])
        self._unread.append([origin | _fields(failure) for failure in unread])
        self._mentions.append(
            [
                origin
                | self._versions
                | {"record": document.record, "document_id": document.document_id, "pmid": document.pmid}
                | {name: getattr(mention, name) for name in _MENTION_FIELDS}
                for document, one in zip(chunk.documents, found, strict=True)
                if not isinstance(one, str)
                for mention in one
            ]
        )

    def finish(self, books: SourceBooks) -> None:
        for writer in (self._documents, self._mentions):
            writer.metadata.update(books.to_metadata())


def _chunks(path: Path) -> Iterator[_Chunk]:
    """Parse a source into chunks, each ready for the model. Raises SourceError where there is no record at all."""
    records = parse(path)
    parsed, last = 0, -1
    more = True
    while more:
        chunk = _Chunk()
        characters = 0
        with chunk.report.timed("parse"):
            while len(chunk.documents) < CHUNK_DOCUMENTS and characters < CHUNK_CHARACTERS:
                try:
                    record = next(records, None)
                except SourceError as error:
                    if not parsed:
                        raise
                    chunk.damage = str(error).removeprefix(f"{path}: ")
                    chunk.failures.append(Failure(last + 1, f"after record {last}", chunk.damage))
                    record = None
                if record is None:
                    more = False
                    break
                parsed, last = parsed + 1, record.record
                match record:
                    case Document():
                        chunk.documents.append(record)
                        characters += sum(len(passage.text) for passage in record.passages)
                    case Failure():
                        chunk.failures.append(record)
                    case Deletion():
                        chunk.deletions.append(record)
        with chunk.report.timed("split"):
            chunk.texts = [_text(document) for document in chunk.documents]
        yield chunk


def _text(document: Document) -> Text | str:
    try:
        return Text(split_sentences(document), find_abbreviations(document.text))
    except Exception as error:  # as with the model: one text must never stop the batch
        return _reason("sentences", error)


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield items while a thread makes the next one."""
    with ThreadPoolExecutor(1, thread_name_prefix="parse") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _read(chunk: _Chunk, cascade: Cascade, report: Report) -> list[list[Mention] | str]:
    """The mentions of each document of a chunk, or why it could not be read."""
    found: list[list[Mention] | str] = [text if isinstance(text, str) else [] for text in chunk.texts]
    texts = {at: text for at, text in enumerate(chunk.texts) if isinstance(text, Text) and text.sentences}
    for at, one in zip(texts, _annotate(list(texts.values()), cascade, report), strict=True):
        found[at] = one if isinstance(one, str) else _fault(chunk.documents[at], one) or one
    return found


def _annotate(texts: Sequence[Text], cascade: Cascade, report: Report) -> list[list[Mention] | str]:
    """Run the cascade; a text that makes it raise is found by halving, and the others are annotated without it."""
    if not texts:
        return []
    try:
        mentions, did = cascade.annotate(texts)
    except torch.AcceleratorError:  # the device is lost: it would fail every text that follows
        raise
    except Exception as error:  # one text must never stop the batch, whatever it makes the model raise
        if len(texts) == 1:
            return [_reason("model", error)]
        half = len(texts) // 2
        return [*_annotate(texts[:half], cascade, report), *_annotate(texts[half:], cascade, report)]
    report += did
    return list(mentions)


def _reason(stage: str, error: Exception) -> str:
    return f"{stage}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _fault(document: Document, mentions: Sequence[Mention]) -> str | None:
    """What is wrong with the mentions of a document: words that are not at their place, or the same one twice."""
    text = document.text
    seen = set()
    for mention in mentions:
        stands = text[mention.start : mention.end]
        if stands != mention.text:
            return f"mention {mention.text[:80]!r} at {mention.start}-{mention.end}, where {stands[:80]!r} stands"
        identity = (mention.start, mention.end, mention.entity_type, mention.mesh_id)
        if identity in seen:
            return f"mention {mention.text[:80]!r} at {mention.start}-{mention.end} twice"
        seen.add(identity)
    return None


def _document_row(document: Document) -> dict[str, Any]:
    text = "".join(f"{passage.offset}\t{passage.text}\n" for passage in document.passages)
    return {
        "record": document.record,
        "document_id": document.document_id,
        "pmid": document.pmid,
        "version": document.version,
        "title": document.title,
        "abstract": document.abstract,
        "passages": [_fields(passage) for passage in document.passages],
        "journal": document.journal,
        "published": document.published,
        "language": document.language,
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "annotations": [_fields(annotation) for annotation in document.annotations],
    }


def _fields(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as they are; `asdict` would copy them, at ten times the cost."""
    return {name: getattr(record, name) for name in record.__slots__}
