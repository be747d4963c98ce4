"""Annotate one source: read a dump file, write five Parquet files, and account for every record.

Parsing writes its three files first (`tasks.documents`). While the model annotates one chunk of documents, a thread
splits the next into sentences. If the text of a document was annotated before, its mentions are reused. The mentions
file is committed last, so its presence marks the source as done. A run that dies earlier leaves no committed file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from e2emern.model.document import MENTION_FIELDS, Document, Mention, Text
from e2emern.model.inference.timings import Report
from e2emern.model.progress import Progress, silent
from e2emern.tasks.documents import parse_source, read_documents, text_of
from e2emern.tasks.isolate import map_isolating_failures, reason
from e2emern.tasks.sources import Source
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.parquet import Rows, TableWriter
from e2emern.warehouse.schemas import FAILURES, MENTIONS
from e2emern.warehouse.sources.counts import SourceSummary, read_source_summary
from e2emern.warehouse.sources.reuse import Carried, reused_mentions

if TYPE_CHECKING:
    from e2emern.model.inference.cascade import Cascade

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """The result of annotating one source. `report` holds the seconds of each stage; `split` overlaps the others."""

    summary: SourceSummary
    mentions: int = 0
    concepts: frozenset[str] = frozenset()
    report: Report = field(default_factory=Report)


def annotate_source(source: Source, *, cascade: Cascade, home: Home, progress: Progress = silent) -> Annotated:
    """Parse a source unless it is parsed already, annotate its documents, and write its failures and mentions.

    `progress` counts the documents of the source. A document that the model cannot read becomes a failure. Raises
    SourceError if no record can be read, or if the file changes while it is read.
    """
    versions = Versions(cascade.model_version, cascade.mesh_version)
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
        for chunk in _ahead(_chunks(home, source, carried)):
            report += chunk.report
            found = _read(chunk, cascade, report)
            with report.timed("write"):
                unread.append([origin | row for row in _unread_rows(chunk, found)])
                for rows in _mention_rows(chunk, found, carried, origin | versions.columns):
                    tally.concepts.update(filter(None, mentions.append(rows)["mesh_id"].unique().to_pylist()))
            tally.add(chunk, found)
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
class _Chunk:
    """The next documents of a source, each with its text, the reason for not having one, or None if it is reused."""

    documents: list[Document]
    texts: list[Text | str | None]
    report: Report


@dataclass(slots=True)
class _Tally:
    """Running counts of the documents of a source."""

    without_text: int = 0
    unread: int = 0  # documents that the model could not read
    carried: int = 0
    concepts: set[str] = field(default_factory=set)

    def add(self, chunk: _Chunk, found: Sequence[list[Mention] | str]) -> None:
        self.without_text += sum(isinstance(text, Text) and not text.sentences for text in chunk.texts)
        self.unread += sum(isinstance(one, str) for one in found)
        self.carried += chunk.texts.count(None)


def _chunks(home: Home, source: Source, carried: Carried) -> Iterator[_Chunk]:
    """Yield the documents of a source in chunks that are ready for the model."""
    for documents in read_documents(home.documents(source.key)):
        report = Report()
        with report.timed("split"):
            texts = [
                None if document.record in carried.records and _has_text(document) else _text(document)
                for document in documents
            ]
        yield _Chunk(documents, texts, report)


def _has_text(document: Document) -> bool:
    return any(passage.text.strip() for passage in document.passages)


def _text(document: Document) -> Text | str:
    try:
        return text_of(document)
    except Exception as error:  # one text must never stop the batch
        return reason("sentences", error)


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield items while a thread prepares the next one."""
    with ThreadPoolExecutor(1, thread_name_prefix="split") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _read(chunk: _Chunk, cascade: Cascade, report: Report) -> list[list[Mention] | str]:
    """Return the mentions of each document of a chunk, or the reason why the model could not read it."""

    def annotate(texts: Sequence[Text]) -> list[list[Mention]]:
        nonlocal report
        mentions, did = cascade.annotate(texts)
        report += did
        return mentions

    found: list[list[Mention] | str] = [text if isinstance(text, str) else [] for text in chunk.texts]
    texts = {at: text for at, text in enumerate(chunk.texts) if isinstance(text, Text) and text.sentences}
    for at, one in zip(texts, map_isolating_failures(list(texts.values()), annotate), strict=True):
        found[at] = one if isinstance(one, str) else _fault(chunk.documents[at], one) or one
    return found


def _fault(document: Document, mentions: Sequence[Mention]) -> str | None:
    """Return what is wrong with the mentions of a document: text that differs at their offsets, or a duplicate."""
    text = document.text
    seen = set()
    for mention in mentions:
        found = text[mention.start : mention.end]
        if found != mention.text:
            return (
                f"mention {mention.text[:80]!r} at {mention.start}-{mention.end}, but the text there is {found[:80]!r}"
            )
        identity = (mention.start, mention.end, mention.entity_type, mention.mesh_id)
        if identity in seen:
            return f"mention {mention.text[:80]!r} at {mention.start}-{mention.end} twice"
        seen.add(identity)
    return None


def _unread_rows(chunk: _Chunk, found: Sequence[list[Mention] | str]) -> Iterator[dict[str, Any]]:
    for document, one in zip(chunk.documents, found, strict=True):
        if isinstance(one, str):
            yield {
                "record": document.record,
                "document_id": document.document_id,
                "position": "text",
                "reason": one,
            }


def _mention_rows(
    chunk: _Chunk, found: Sequence[list[Mention] | str], carried: Carried, constant: dict[str, str]
) -> Iterator[Rows]:
    """Yield the rows of a chunk in order of record: reused ones as a table, new ones as dicts."""
    each = zip(chunk.documents, chunk.texts, found, strict=True)
    for is_carried, group in groupby(each, key=lambda one: one[1] is None):
        run = list(group)
        if is_carried:
            yield carried.between(run[0][0].record, run[-1][0].record)
        else:
            yield [
                constant
                | {"record": document.record, "document_id": document.document_id, "pmid": document.pmid}
                | {name: getattr(mention, name) for name in MENTION_FIELDS}
                for document, _, mentions in run
                if not isinstance(mentions, str)
                for mention in mentions
            ]
