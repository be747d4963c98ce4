"""Annotate texts in memory, without a home, for `import e2emern` and the command `text`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from e2emern.defaults import MESH, MODEL
from e2emern.model.document import Candidate, Document, Mention, Text
from e2emern.model.progress import Progress, silent
from e2emern.tasks.chunks import Processes
from e2emern.tasks.devices import pick_device
from e2emern.tasks.documents import CHUNK_CHARACTERS, text_of
from e2emern.tasks.errors import InputError
from e2emern.tasks.isolate import map_isolating_failures, reason
from e2emern.tasks.models import load, read_versions
from e2emern.tasks.parsers.text import lay_out_text
from e2emern.tasks.processes import AUTO, Wanted, count_processes
from e2emern.tasks.resolve import find_mesh, find_model
from e2emern.warehouse.layout import Home

if TYPE_CHECKING:
    from e2emern.model.inference.cascade import Cascade

BATCH_TEXTS = 64

_UNUSABLE = re.compile(r"[\x00\ud800-\udfff]")  # no tokenizer reads lone surrogates


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """A text with its mentions by start, and the candidates of each mention, best first.

    `error` is the reason why the model could not read the text, which then has no mentions.
    """

    text: str
    mentions: tuple[Mention, ...] = ()
    candidates: tuple[tuple[Candidate, ...], ...] = ()
    error: str | None = None


def load_for_texts(
    model: Path | str | None = None,
    mesh: Path | str | None = None,
    *,
    home: Home | None,
    cache: Path,
    device: str = "auto",
    progress: Progress = silent,
) -> Cascade:
    """Load a model and a vocabulary by their paths, or by their versions in a home; by default the bundled ones.

    With a home, the default model is its champion. An entity bank that has to be built is kept in the home, or in
    `cache` without one. Raises InputError if one of them cannot be used.
    """
    folder, table = _find(model, mesh, home=home, cache=cache)
    read_versions(folder, table)  # reports a wrong path before the slow imports
    return load(folder, table, home=home or Home(cache), device=device, progress=progress)


def processes_for_texts(
    model: Path | str | None = None,
    mesh: Path | str | None = None,
    *,
    home: Home | None,
    cache: Path,
    device: str = "auto",
    processes: Wanted,
) -> Processes | None:
    """Return processes that each load the same as `load_for_texts`; None for a single process.

    Raises InputError if a model or device cannot be used.
    """
    if processes != AUTO and not (isinstance(processes, int) and processes >= 1):
        raise InputError(f"processes: found {processes!r}, expected {AUTO}, or 1 or more")
    if processes == 1:  # before `pick_device`, which imports torch
        return None
    place = pick_device(device)
    if (count := count_processes(processes, device=place)) == 1:
        return None
    folder, table = _find(model, mesh, home=home, cache=cache)
    return Processes(
        read_versions(folder, table),
        count=count,
        model=folder,
        mesh=table,
        home=home or Home(cache),
        device=place,
    )


def _find(model: Path | str | None, mesh: Path | str | None, *, home: Home | None, cache: Path) -> tuple[Path, Path]:
    folder = find_model(model, home=home) if home else Path(model or MODEL)
    return folder, find_mesh(Path(mesh or MESH), home=home or Home(cache))


def annotate_texts(
    texts: Iterable[str],
    *,
    cascade: Cascade,
    processes: Processes | None = None,
    candidates: int = 0,
    batch_size: int = BATCH_TEXTS,
) -> Iterator[AnnotatedText]:
    """Yield each text with its mentions, in order, reading at most `batch_size` texts ahead.

    Offsets count the code points of the text, and `text[start:end]` is the text of a mention. Passages are those of
    `lay_out_text`.

    Args:
        processes: annotate instead of the cascade, and read two batches ahead for each process.
        candidates: number of candidates to return for each mention.
    """
    chunks = _chunks(texts, batch_size)
    annotate = partial(_annotate_chunk, candidates=candidates)
    for found in processes.map(annotate, chunks) if processes else (annotate(chunk, cascade) for chunk in chunks):
        yield from found


def _annotate_chunk(chunk: list[str], cascade: Cascade, *, candidates: int) -> list[AnnotatedText]:
    read = [_text(text) for text in chunk]
    asked = [text for text in read if isinstance(text, Text) and text.sentences]
    found = iter(map_isolating_failures(asked, lambda some: _read(some, cascade, candidates)))
    return [
        AnnotatedText(text, error=its)
        if isinstance(its, str)
        else _annotated(text, next(found))
        if its.sentences
        else AnnotatedText(text)
        for text, its in zip(chunk, read, strict=True)
    ]


_Read = tuple[list[Mention], list[tuple[Candidate, ...]]]


def _read(texts: Sequence[Text], cascade: Cascade, candidates: int) -> list[_Read]:
    if not candidates:
        return [(mentions, [()] * len(mentions)) for mentions in cascade.annotate(texts)[0]]
    from e2emern.model.inference.ranking import rank_candidates

    mentions, linked, _ = cascade.annotate_with_evidence(texts)
    return [*zip(mentions, rank_candidates(linked, mentions, cascade=cascade, most=candidates), strict=True)]


def _annotated(text: str, found: _Read | str) -> AnnotatedText:
    if isinstance(found, str):
        return AnnotatedText(text, error=found)
    mentions = tuple(replace(one, text=text[one.start : one.end]) for one in found[0])  # with its own line ends
    return AnnotatedText(text, mentions, tuple(found[1]))


def _text(text: str) -> Text | str:
    try:
        return text_of(Document("text", 0, lay_out_text(_UNUSABLE.sub("\ufffd", text))))
    except Exception as error:  # one text must never stop the batch
        return reason("sentences", error)


def _chunks(texts: Iterable[str], batch_size: int) -> Iterator[list[str]]:
    """Yield the texts in lists of at most `batch_size`, and of bounded length."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if len(chunk) >= batch_size or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
