"""Annotate one source: read a dump file, write five Parquet files, and account for every record.

Parsing writes its three files first (`tasks.documents`). Then chunks of documents are annotated (`tasks.chunks`). If
the text of a document was annotated before, its mentions are reused. The mentions file is committed last, so its
presence marks the source as done. A run that dies earlier leaves no committed file, but the finished parts of a large
source (`tasks.parts`), which the next run does not annotate again. Several processes can annotate one source: each
locks the parts that it annotates, and the one that finds all parts finished joins them.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

from e2emern.model.document import MENTION_FIELDS, Document
from e2emern.model.inference.timings import Report
from e2emern.model.progress import Progress, silent
from e2emern.tasks.chunks import AnnotatedChunk, Annotator, Chunk
from e2emern.tasks.documents import parse_source, read_documents
from e2emern.tasks.parts import PART, Block, Part, Tally, cut_parts, cut_shares, is_sound, read_part, write_part
from e2emern.tasks.sources import Source
from e2emern.warehouse.files import locked, revalidate
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.parquet import Rows, TableWriter
from e2emern.warehouse.schemas import FAILURES, MENTIONS
from e2emern.warehouse.sources.counts import ParseSummary, SourceSummary, read_source_summary
from e2emern.warehouse.sources.reuse import Carried, reused_mentions


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """The result of annotating one source. `report` holds the seconds of each stage; `split` overlaps the others."""

    summary: SourceSummary
    mentions: int = 0
    concepts: frozenset[str] = frozenset()
    report: Report = field(default_factory=Report)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsWritten:
    """The result of annotating a share of a source that other shares complete.

    Attributes:
        written: parts that this process has written.
        parts: parts of the whole source.
    """

    written: int
    parts: int
    report: Report


def annotate_source(
    source: Source, *, annotator: Annotator, home: Home, part: int = PART, progress: Progress = silent
) -> Annotated:
    """Parse a source unless it is parsed already, annotate its documents, and write its failures and mentions.

    A source with more than `part` documents is annotated in parts; finished parts are not annotated again. `progress`
    counts the documents of the source. A document that the model cannot read becomes a failure. Raises SourceError if
    no record can be read or the file changes while it is read, and the errors of `annotator.read`.
    """
    work = _begin(source, annotator, home, progress)
    parts = cut_parts(work.parsed.documents, size=part)
    if len(parts) < 2:
        return work.write(work.annotate_whole())
    work.annotate_parts(parts)
    with locked(home.claim(source.key, annotator.versions, "join"), best_effort=True):
        if work.is_written:  # by another process
            return read_annotated(source, home=home, versions=annotator.versions)
        done = work.write(read_part(work.path(each)) for each in parts)
        shutil.rmtree(home.parts(source.key, annotator.versions), ignore_errors=True)
    return done


def annotate_share(
    source: Source, *, share: int, annotator: Annotator, home: Home, part: int = PART, progress: Progress = silent
) -> Annotated | PartsWritten:
    """Annotate the parts of one share of a source (`cut_shares`). If no other part is left, complete the source.

    Returns how many parts were written if others are left. Raises the errors of `annotate_source`.
    """
    work = _begin(source, annotator, home, progress)
    parts = cut_parts(work.parsed.documents, size=part)
    if len(parts) > 1:
        work.annotate_parts(cut_shares(parts)[share])
        revalidate(home.parts(source.key, annotator.versions))
        if not all(work.path(each).exists() for each in parts):
            return PartsWritten(written=work.written, parts=len(parts), report=work.report)
    return annotate_source(source, annotator=annotator, home=home, part=part, progress=progress)


def already_annotated(source: Source, *, home: Home, versions: Versions) -> SourceSummary:
    """Return the record counts of a source that is done. Raises WarehouseError if they cannot be read."""
    return read_source_summary(home.mentions(source.key, versions))


def read_annotated(source: Source, *, home: Home, versions: Versions) -> Annotated:
    """Return the counts of a source that another process has annotated. Raises the errors of `already_annotated`."""
    summary = already_annotated(source, home=home, versions=versions)
    return Annotated(summary=summary, mentions=pq.read_metadata(home.mentions(source.key, versions)).num_rows)


def _begin(source: Source, annotator: Annotator, home: Home, progress: Progress) -> _Work:
    report = Report()
    progress("documents", 0, None)
    parsed = parse_source(source, home=home, report=report)
    return _Work(source, annotator, home, parsed, report, progress)


_Chunk = TypeVar("_Chunk", bound=Sized)


class _TakenError(Exception):
    """Another process is annotating a part."""


@dataclass(slots=True)
class _Work:
    """The annotation of a parsed source in this process."""

    source: Source
    annotator: Annotator
    home: Home
    parsed: ParseSummary
    report: Report
    progress: Progress
    written: int = 0  # parts
    _done: int = 0  # documents
    _total: int = 0
    _carried: Carried = field(default_factory=Carried)

    def path(self, part: Part) -> Path:
        """Path of the file of a part."""
        return part.path(self.home, self.source.key, self.annotator.versions)

    @property
    def is_written(self) -> bool:
        """Whether the source is done."""
        return self.home.mentions(self.source.key, self.annotator.versions).exists()

    def write(self, blocks: Iterable[Block]) -> Annotated:
        """Write the files of the source, the mentions last."""
        key, versions = self.source.key, self.annotator.versions
        tally = Tally()
        with (
            TableWriter(self.home.mentions(key, versions), MENTIONS) as mentions,  # committed last
            TableWriter(self.home.unread(key, versions), FAILURES) as unread,
        ):
            for block in blocks:
                with self.report.timed("write"):
                    unread.append(block.unread)
                    tally.add(block, mentions=mentions)
            summary = self.parsed.annotated(without_text=tally.without_text, unread=tally.unread, carried=tally.carried)
            summary.counts.check(source=key.name)
            mentions.metadata.update(summary.to_metadata())
        return Annotated(
            summary=summary, mentions=mentions.rows, concepts=frozenset(tally.concepts), report=self.report
        )

    def annotate_whole(self) -> Iterator[Block]:
        """Yield all documents, annotated."""
        self._total = self.parsed.documents
        self._carry()
        yield from map(self._block, self.annotator.read(self._chunks(Part(0, self._total))))

    def annotate_parts(self, parts: Sequence[Part]) -> None:
        """Write the files of parts that are not finished; wait for those that other processes annotate."""
        missing = self._unfinished(parts)
        self._total = sum(map(len, parts))
        self._count(self._total - sum(map(len, missing)))
        while missing:
            self._carry()
            missing = self._annotate_free(missing)
            for part in missing[:1]:
                with self._claim(part):  # the process that held it has finished it, or died
                    missing = self._unfinished(missing)

    def _annotate_free(self, parts: Sequence[Part]) -> list[Part]:
        """Annotate the parts that no other process annotates, and return the others.

        The chunks of all parts are one stream, so no process waits at the end of a part.
        """
        taken, begun = list[Part](), deque[tuple[Part, ExitStack]]()
        with ExitStack() as claims:

            def chunks() -> Iterator[Chunk]:
                for part in parts:
                    claim = claims.enter_context(ExitStack())
                    try:
                        claim.enter_context(self._claim(part, busy=_TakenError()))
                    except _TakenError:
                        taken.append(part)
                        continue
                    if self._unfinished([part]):
                        begun.append((part, claim))
                        yield from self._chunks(part)
                    else:  # another process has finished it since
                        claim.close()

            with closing(self.annotator.read(chunks())) as annotated:
                for chunk in annotated:
                    part, claim = begun.popleft()
                    with claim:
                        blocks = map(self._block, _next(len(part), chain([chunk], annotated)))
                        write_part(self.path(part), blocks, report=self.report)
                        self.written += 1
        return taken

    def _unfinished(self, parts: Sequence[Part]) -> list[Part]:
        return [part for part in parts if not (self.is_written or is_sound(self.path(part)))]

    def _count(self, documents: int) -> None:
        self._done += documents
        self.progress("documents", self._done, self._total)

    def _carry(self) -> None:
        if "carry" not in self.report.seconds:
            with self.report.timed("carry"):
                self._carried = reused_mentions(self.home, self.source.key, self.annotator.versions)

    def _claim(self, part: Part, *, busy: Exception | None = None) -> AbstractContextManager[None]:
        claim = self.home.claim(self.source.key, self.annotator.versions, str(part))
        return locked(claim, busy=busy, best_effort=True)

    def _chunks(self, part: Part) -> Iterator[Chunk]:
        """Yield the documents of a part in chunks."""
        known = self._carried.records
        documents_file = self.home.documents(self.source.key)
        for documents in _next(len(part), read_documents(documents_file, first=part.first)):
            reused = (at for at, one in enumerate(documents) if one.record in known and _has_text(one))
            yield Chunk(documents, frozenset(reused))

    def _block(self, chunk: AnnotatedChunk) -> Block:
        """Return the rows of an annotated chunk."""
        self._count(len(chunk.documents))
        self.report += chunk.report
        origin = {"source": self.source.key.name, "digest": self.source.key.digest}
        constant = origin | self.annotator.versions.columns
        return Block(
            mentions=_mention_rows(chunk, self._carried, constant),
            unread=[origin | row for row in _unread_rows(chunk)],
            documents=len(chunk.documents),
            without_text=chunk.without_text,
            carried=chunk.found.count(None),
        )


def _next(documents: int, chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
    """Yield the next chunks until they hold this many documents."""
    while documents > 0:
        yield (chunk := next(chunks))
        documents -= len(chunk)


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
