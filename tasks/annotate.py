"""Annotate one source: read a dump file, write five Parquet files, and account for every record.

Parsing writes its three files first (`tasks.documents`). Then chunks of documents are annotated (`tasks.chunks`). If
the text of a document was annotated before, its mentions are reused. The mentions file is committed last, so its
presence marks the source as done. A run that dies earlier leaves no committed file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from e2emern.model.document import MENTION_FIELDS, Document
from e2emern.model.inference.timings import Report
from e2emern.model.progress import Progress, silent
from e2emern.tasks.chunks import AnnotatedChunk, Annotator, Chunk
from e2emern.tasks.documents import parse_source, read_documents
from e2emern.tasks.sources import Source
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.parquet import Rows, TableWriter
from e2emern.warehouse.schemas import FAILURES, MENTIONS
from e2emern.warehouse.sources.counts import SourceSummary, read_source_summary
from e2emern.warehouse.sources.reuse import Carried, reused_mentions


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """The result of annotating one source. `report` holds the seconds of each stage; `split` overlaps the others."""

    summary: SourceSummary
    mentions: int = 0
    concepts: frozenset[str] = frozenset()
    report: Report = field(default_factory=Report)


def annotate_source(source: Source, *, annotator: Annotator, home: Home, progress: Progress = silent) -> Annotated:
    """Parse a source unless it is parsed already, annotate its documents, and write its failures and mentions.

    `progress` counts the documents of the source. A document that the model cannot read becomes a failure. Raises
    SourceError if no record can be read, or if the file changes while it is read, and what `annotator.read` raises.
    """
    versions = annotator.versions
    report = Report()
    progress("documents", 0, None)
    parsed = parse_source(source, home=home, report=report)
    with report.timed("carry"):
        carried = reused_mentions(home, source.key, versions)
    tally, done = _Tally(), 0
    with (
        TableWriter(home.mentions(source.key, versions), MENTIONS) as mentions,  # committed last
        TableWriter(home.unread(source.key, versions), FAILURES) as unread,
    ):
        origin = {"source": source.key.name, "digest": source.key.digest}
        for chunk in annotator.read(_chunks(home, source, carried)):
            report += chunk.report
            with report.timed("write"):
                unread.append([origin | row for row in _unread_rows(chunk)])
                for rows in _mention_rows(chunk, carried, origin | versions.columns):
                    tally.concepts.update(filter(None, mentions.append(rows)["mesh_id"].unique().to_pylist()))
            tally.add(chunk)
            done += len(chunk.documents)
            progress("documents", done, parsed.documents)
        summary = parsed.annotated(without_text=tally.without_text, unread=tally.unread, carried=tally.carried)
        summary.counts.check(source=source.key.name)
        mentions.metadata.update(summary.to_metadata())
    return Annotated(summary=summary, mentions=mentions.rows, concepts=frozenset(tally.concepts), report=report)


def already_annotated(source: Source, *, home: Home, versions: Versions) -> SourceSummary:
    """Return the record counts of a source that is done. Raises WarehouseError if they cannot be read."""
    return read_source_summary(home.mentions(source.key, versions))


@dataclass(slots=True)
class _Tally:
    """Running counts of the documents of a source."""

    without_text: int = 0
    unread: int = 0  # documents that the model could not read
    carried: int = 0
    concepts: set[str] = field(default_factory=set)

    def add(self, chunk: AnnotatedChunk) -> None:
        self.without_text += chunk.without_text
        self.unread += sum(isinstance(found, str) for found in chunk.found)
        self.carried += chunk.found.count(None)


def _chunks(home: Home, source: Source, carried: Carried) -> Iterator[Chunk]:
    """Yield the documents of a source in chunks."""
    for documents in read_documents(home.documents(source.key)):
        reused = (at for at, one in enumerate(documents) if one.record in carried.records and _has_text(one))
        yield Chunk(documents, frozenset(reused))


def _has_text(document: Document) -> bool:
    return any(passage.text.strip() for passage in document.passages)


def _unread_rows(chunk: AnnotatedChunk) -> Iterator[dict[str, Any]]:
    for document, one in zip(chunk.documents, chunk.found, strict=True):
        if isinstance(one, str):
            yield {
                "record": document.record,
                "document_id": document.document_id,
                "position": "text",
                "reason": one,
            }


def _mention_rows(chunk: AnnotatedChunk, carried: Carried, constant: dict[str, str]) -> Iterator[Rows]:
    """Yield the rows of a chunk in order of record: reused ones as a table, new ones as dicts."""
    each = zip(chunk.documents, chunk.found, strict=True)
    for is_carried, group in groupby(each, key=lambda one: one[1] is None):
        run = list(group)
        if is_carried:
            yield carried.between(run[0][0].record, run[-1][0].record)
        else:
            yield [
                constant
                | {"record": document.record, "document_id": document.document_id, "pmid": document.pmid}
                | {name: getattr(mention, name) for name in MENTION_FIELDS}
                for document, mentions in run
                if not isinstance(mentions, str)
                for mention in mentions or ()
            ]
