"""Measure how fast this host annotates: with one process and with several, for a few seconds each.

Timing starts after the first chunks, when every process has loaded its model; writing tables is not measured either.
The text comes from files, or from sentences of the bundled sample in varied order. The sample has few different names,
and repeated names cost less, so files of real text give a more realistic figure.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, cycle, islice
from multiprocessing import active_children
from pathlib import Path

from e2emern.defaults import SAMPLE
from e2emern.model.document import Document, Passage
from e2emern.tasks.chunks import Chunk, Processes, cores
from e2emern.tasks.devices import pick_device
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_versions
from e2emern.tasks.parsers import parse
from e2emern.tasks.sentences import split_sentences
from e2emern.warehouse.layout import Home

CHUNK = 32
"""Documents in a chunk: few, so that even a slow host returns several chunks."""

_PAYS = 1.1  # required speed-up over the previous number of processes
_MOST_READ = 5_000  # documents of files that are kept in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The speed of some number of processes; `cpu_seconds` is None if the system does not report them."""

    processes: int
    threads: int
    documents: int
    words: int
    seconds: float
    cpu_seconds: float | None

    @property
    def per_second(self) -> float:
        """Documents per second."""
        return self.documents / self.seconds

    @property
    def per_cpu_second(self) -> float | None:
        """Documents per CPU second."""
        return self.documents / self.cpu_seconds if self.cpu_seconds else None


def measure(
    documents: Iterable[Document], *, model: Path, mesh: Path, device: str = "auto", seconds: float = 60.0
) -> Iterator[Speed]:
    """Yield the speed with 1, 2, 4 ... processes up to the number of cores, as long as more of them are faster.

    Args:
        documents: an endless iterator.
        model: folder of a model.
        mesh: entities table.
        device: auto, cpu or cuda.
        seconds: total time, without loading; each number of processes gets an equal part.

    Raises:
        InputError: the model, the vocabulary or the device cannot be used.
    """
    versions, place = read_versions(model, mesh), pick_device(device)
    numbers = list(_doubling(cores()))
    source, last = iter(documents), 0.0
    with tempfile.TemporaryDirectory(prefix="e2emern-bench-") as folder:
        for number in numbers:
            annotators = Processes(
                versions, count=number, model=model, mesh=mesh, home=Home(Path(folder)), device=place
            )
            with annotators:
                speed = _measure(annotators, source, length=seconds / len(numbers))
            yield speed
            if speed.per_second < _PAYS * last:
                return
            last = speed.per_second


def _measure(annotators: Processes, documents: Iterator[Document], *, length: float) -> Speed:
    began: float | None = None
    cpu: float | None = None
    found, words = 0, 0

    def chunks() -> Iterator[Chunk]:
        while began is None or time.monotonic() < began + length:
            yield Chunk(list(islice(documents, CHUNK)))

    for at, chunk in enumerate(annotators.read(chunks())):
        if at < 2 * annotators.count:  # by then every process has loaded the model
            began, cpu = time.monotonic(), _cpu_seconds()
            continue
        found += len(chunk.documents)
        words += sum(len(document.text.split()) for document in chunk.documents)
    ended, spent = time.monotonic(), _cpu_seconds()
    if began is None or not found:
        raise AssertionError  # chunks are fed until some have returned
    return Speed(
        processes=annotators.count,
        threads=annotators.threads,
        documents=found,
        words=words,
        seconds=ended - began,
        cpu_seconds=None if spent is None or cpu is None else spent - cpu,
    )


def documents_of(files: Sequence[Path]) -> Iterator[Document]:
    """Return the documents with text of files, again and again. Raises InputError if they have none."""
    with_text = (one for file in files for one in parse(file) if isinstance(one, Document) and one.text)
    found = list(islice(with_text, _MOST_READ))
    if not found:
        raise InputError("no document with text", path=files[0])
    return cycle(found)


def documents_of_sample() -> Iterator[Document]:
    """Yield documents endlessly: a title of the sample with 6 to 14 of its sentences, about 240 words."""
    sample = [one for one in parse(SAMPLE) if isinstance(one, Document)]
    titles = [one.title for one in sample if one.title]
    sentences = [
        sentence.text for one in sample for sentence in split_sentences(one) if sentence.start > len(one.title)
    ]
    chance = random.Random(2)
    for number in count():
        title = chance.choice(titles)
        abstract = " ".join(chance.sample(sentences, chance.randint(6, 14)))
        passages = (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
        yield Document(document_id=f"sample-{number}", record=number, passages=passages)


def _doubling(most: int) -> Iterator[int]:
    number = 1
    while number <= most:
        yield number
        number *= 2


def _cpu_seconds() -> float | None:
    """Return the CPU seconds of this process and of the annotating ones; None if the system does not report them."""
    total, tick = time.process_time(), os.sysconf("SC_CLK_TCK")
    with suppress(OSError, ValueError, IndexError):
        for child in active_children():
            fields = Path(f"/proc/{child.pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / tick
        return total
    return None
