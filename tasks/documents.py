"""Parse one source: read a dump file and write three Parquet files, which do not depend on the model.

The documents file is committed last, with the record counts of parsing in its metadata. While it exists, the dump is
not parsed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from e2emern.model.document import Annotation, Document, Passage, Text
from e2emern.model.inference.timings import Report
from e2emern.model.notation import normalize_id, normalize_type
from e2emern.tasks.abbreviations import find_abbreviations
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import Deletion, Failure, detect_format, parse
from e2emern.tasks.parsers.version import PARSER
from e2emern.tasks.sentences import split_sentences
from e2emern.tasks.sources import Source
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.parquet import TableWriter, read_batches
from e2emern.warehouse.schemas import DELETIONS, DOCUMENTS, FAILURES
from e2emern.warehouse.sources.counts import ParseSummary, read_parse_summary
from e2emern.warehouse.sources.hash_cache import forget_digest

CHUNK_RECORDS = 256
CHUNK_CHARACTERS = 1_000_000  # bounds chunks of full texts

_READ = ["record", "document_id", "pmid", "passages"]  # the columns that a model needs


def parse_source(source: Source, *, home: Home, report: Report) -> ParseSummary:
    """Write the documents, deletions and failures of a source unless they exist, and return its record counts.

    If the source is damaged, the records before the damage are kept, and the damage becomes a failure.
    Raises SourceError if no record can be read, if the file changes while it is read, or if the source was sent to this
    worker by another release, which has another version of the parser.
    """
    files = (home.documents(source.key), home.deletions(source.key), home.failures(source.key))
    if all(path.exists() for path in files):
        try:
            return read_parse_summary(files[0])
        except WarehouseError:  # damaged: parse again
            pass
    if source.key.parser != PARSER:
        raise SourceError(
            f"needs parser {source.key.parser}, but this release has {PARSER}; install the same release on all hosts",
            path=source.path,
        )
    origin = {"source": source.key.name, "digest": source.key.digest}
    tally = _Tally()
    with (
        TableWriter(files[0], DOCUMENTS) as documents,
        TableWriter(files[1], DELETIONS) as deletions,
        TableWriter(files[2], FAILURES) as failures,
    ):
        form = detect_format(source.path, name=source.key.name, columns=source.columns)
        for chunk in _chunks(source, report):
            with report.timed("write"):
                documents.append([origin | _row(document) for document in chunk.documents])
                deletions.append([origin | _fields(deletion) for deletion in chunk.deletions])
                failures.append([origin | _fields(failure) for failure in chunk.failures])
            tally.add(chunk)
        if source.columns.digest(digest_file(source.path)) != source.key.content:
            forget_digest(home, source.path)
            raise SourceError("changed while it was read; annotate it again when it is complete", path=source.path)
        summary = tally.summary(source, form)
        documents.metadata.update(summary.to_metadata())
    return summary


def read_documents(path: Path, *, first: int = 0) -> Iterator[list[Document]]:
    """Yield the documents of a documents file in order, in lists of bounded length, with the fields a model needs.

    Begin at row `first`, a multiple of `CHUNK_RECORDS`. Raises WarehouseError if the file is damaged, OSError if it
    cannot be read now.
    """
    for batch in read_batches(path, columns=_READ, rows=CHUNK_RECORDS, first=first):
        chunk: list[Document] = []
        characters = 0
        for row in batch.to_pylist():
            document = Document(
                document_id=row["document_id"],
                record=row["record"],
                passages=tuple(Passage(**passage) for passage in row["passages"]),
                pmid=row["pmid"],
            )
            chunk.append(document)
            characters += sum(len(passage.text) for passage in document.passages)
            if characters >= CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk


def text_of(document: Document) -> Text:
    """Return the model's input for a document: its sentences, and the abbreviations that it defines."""
    return Text(split_sentences(document), find_abbreviations(document.text))


@dataclass(slots=True)
class _Chunk:
    """The next records of a source; `damage` is the error that ended the source early."""

    documents: list[Document] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    damage: str | None = None

    def __len__(self) -> int:
        return len(self.documents) + len(self.failures) + len(self.deletions)


@dataclass(slots=True)
class _Tally:
    """Running counts of the records of a source."""

    documents: int = 0
    unusable: int = 0  # records that never became documents
    invalid_annotations: int = 0
    deleted: int = 0
    damage: str | None = None

    def add(self, chunk: _Chunk) -> None:
        self.documents += len(chunk.documents)
        self.invalid_annotations += sum(len(document.invalid_annotations) for document in chunk.documents)
        self.unusable += len(chunk.failures)
        self.deleted += len(chunk.deletions)
        self.damage = chunk.damage

    def summary(self, source: Source, form: str) -> ParseSummary:
        status: Literal["complete", "damaged"] = "damaged" if self.damage else "complete"
        return ParseSummary(
            key=source.key,
            format=form,
            bytes=source.bytes,
            documents=self.documents,
            unusable=self.unusable,
            deleted=self.deleted,
            invalid_annotations=self.invalid_annotations,
            status=status,
            error=self.damage,
        )


def _chunks(source: Source, report: Report) -> Iterator[_Chunk]:
    """Parse a source into chunks. Raises SourceError if no record precedes the damage."""
    records = parse(source.path, name=source.key.name, columns=source.columns)
    parsed, last = 0, -1
    more = True
    while more:
        chunk = _Chunk()
        characters = 0
        with report.timed("parse"):
            while len(chunk) < CHUNK_RECORDS and characters < CHUNK_CHARACTERS:
                try:
                    record = next(records, None)
                except SourceError as error:
                    if not parsed:
                        raise
                    chunk.damage = error.in_file
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
        yield chunk


def _row(document: Document) -> dict[str, Any]:
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
        "vernacular_title": document.vernacular_title,
        "abstract_type": document.abstract_type,
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "annotations": [_annotation_row(annotation) for annotation in document.annotations],
        "invalid_annotations": [_fields(invalid) for invalid in document.invalid_annotations],
    }


def _annotation_row(annotation: Annotation) -> dict[str, Any]:
    kind = normalize_type(annotation.entity_type)
    ids = map(normalize_id, annotation.identifiers if kind else ())  # gene numbers must not be read as OMIM ids
    return {
        "start": annotation.start,
        "end": annotation.end,
        "text": annotation.text,
        "entity_type": annotation.entity_type,
        "identifiers": annotation.identifiers,
        "normalized_type": kind,
        "normalized_ids": [each for each in ids if each is not None],
    }


def _fields(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without copying them; `asdict` takes ten times as long."""
    return {name: getattr(record, name) for name in record.__slots__}
