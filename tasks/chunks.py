"""Annotate chunks of documents, in this process or in several.

Both ways take the chunks of a source in order and return them in order. So one process writes the files of a source,
with the same rows in both cases. In this process, a thread splits the next chunk into sentences while the model
annotates the current one. Otherwise each process loads the model, and does both for a chunk.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from e2emern.model.document import Document, Mention, Text
from e2emern.model.inference.timings import Report
from e2emern.tasks.control_groups import cpu_limit
from e2emern.tasks.documents import text_of
from e2emern.tasks.errors import InputError
from e2emern.tasks.isolate import map_isolating_failures, reason
from e2emern.warehouse.layout import Home, Versions

if TYPE_CHECKING:
    from e2emern.model.inference.cascade import Cascade

_T = TypeVar("_T")
_Given = TypeVar("_Given")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next documents of a source; those at the positions `reused` keep their existing mentions."""

    documents: list[Document]
    reused: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class AnnotatedChunk:
    """The mentions that the model found in each document of a chunk.

    Attributes:
        found: mentions of each document, the reason if the model could not read it, or None if its mentions are reused.
        without_text: number of documents without any sentence.
    """

    documents: list[Document]
    found: list[list[Mention] | str | None]
    without_text: int
    report: Report

    def __len__(self) -> int:
        return len(self.documents)


class LostProcessError(InputError):
    """An annotating process was killed, so no more sources can be annotated. Finished work is kept."""


class Annotator(Protocol):
    """Something that annotates the chunks of a source, in order."""

    @property
    def versions(self) -> Versions:
        """Return the versions of model and vocabulary for the mentions."""

    def read(self, chunks: Iterable[Chunk]) -> Generator[AnnotatedChunk, None, None]:
        """Yield each chunk with its mentions, in order."""


@dataclass(frozen=True, slots=True)
class InProcess:
    """Annotates in this process."""

    cascade: Cascade

    @property
    def versions(self) -> Versions:
        """Return the versions of the model and of its vocabulary."""
        return Versions(self.cascade.model_version, self.cascade.mesh_version)

    def read(self, chunks: Iterable[Chunk]) -> Generator[AnnotatedChunk, None, None]:
        """Yield each chunk with its mentions, in order."""
        for prepared in _ahead(map(_prepare, chunks)):
            yield _annotate(prepared, self.cascade)


@dataclass(slots=True)
class Processes(AbstractContextManager["Processes"]):
    """Annotates in several processes, which load the model when they get their first chunk.

    They end with the context, or if this process is killed.

    Attributes:
        count: number of processes.
        threads: threads of torch in each process, its share of the cores.
    """

    versions: Versions
    count: int
    model: Path
    mesh: Path
    home: Home
    device: str
    threads: int = field(init=False)
    _pool: ProcessPoolExecutor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.threads = max(1, cores() // self.count)
        # A forked process would share locks and threads of torch in an unknown state.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self.count, context, initializer=_begin, initargs=(self.threads,))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the processes; after an error immediately, since their chunks are no longer needed."""
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, chunks: Iterable[Chunk]) -> Generator[AnnotatedChunk, None, None]:
        """Yield each chunk with its mentions, in order. Raises what `map` does."""
        return self.map(_prepare_and_annotate, chunks)

    def map(self, work: Callable[[_Given, Cascade], _T], items: Iterable[_Given]) -> Generator[_T, None, None]:
        """Yield the result of each item, in order; two items per process are in progress or queued.

        Args:
            work: a function of a module, so that a process can import it.

        Raises InputError if the model cannot be loaded, and LostProcessError if one of the processes was killed.
        """
        waiting: deque[Future[_T]] = deque()
        try:
            for item in items:
                waiting.append(
                    self._pool.submit(_work_here, work, item, self.model, self.mesh, self.home.root, self.device)
                )
                if len(waiting) >= 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise LostProcessError(
                f"one of {self.count} annotating processes was killed, perhaps for lack of memory; "
                "try again with fewer processes"
            ) from error
        finally:
            for one in waiting:
                one.cancel()


def cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit()
    return number if limit is None else max(1, min(number, int(limit)))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A chunk with, for each document, its text, or the reason why it has none, or None if its mentions are reused."""

    documents: list[Document]
    texts: list[Text | str | None]
    report: Report


def _prepare(chunk: Chunk) -> _Prepared:
    report = Report()
    with report.timed("split"):
        texts = [None if at in chunk.reused else _text(document) for at, document in enumerate(chunk.documents)]
    return _Prepared(chunk.documents, texts, report)


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


def _annotate(chunk: _Prepared, cascade: Cascade) -> AnnotatedChunk:
    """Return the mentions of each document of a chunk, or the reason why the model could not read it."""
    report = chunk.report

    def annotate(texts: Sequence[Text]) -> list[list[Mention]]:
        nonlocal report
        mentions, did = cascade.annotate(texts)
        report += did
        return mentions

    found: list[list[Mention] | str | None] = [[] if isinstance(text, Text) else text for text in chunk.texts]
    texts = {at: text for at, text in enumerate(chunk.texts) if isinstance(text, Text) and text.sentences}
    for at, one in zip(texts, map_isolating_failures(list(texts.values()), annotate), strict=True):
        found[at] = one if isinstance(one, str) else _fault(chunk.documents[at], one) or one
    without_text = sum(isinstance(text, Text) and not text.sentences for text in chunk.texts)
    return AnnotatedChunk(chunk.documents, found, without_text, report)


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


_cascade: Cascade | None = None  # of an annotating process


def _begin(threads: int) -> None:
    """Prepare an annotating process: Ctrl-C is for its parent, and it ends when its parent is killed."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work_here(
    work: Callable[[_Given, Cascade], _T], item: _Given, model: Path, mesh: Path, home: Path, device: str
) -> _T:
    """Call a function in an annotating process, which keeps the model."""
    global _cascade
    if _cascade is None:
        from e2emern.tasks.models import load

        _cascade = load(model, mesh, home=Home(home), device=device)
    return work(item, _cascade)


def _prepare_and_annotate(chunk: Chunk, cascade: Cascade) -> AnnotatedChunk:
    return _annotate(_prepare(chunk), cascade)
