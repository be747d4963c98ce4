"""Tag plain text with teacher models, as training data for another model (`model.training.distillation`).

Passages are sampled from those that are rich in names, split into sentences, and tagged in chunks. Each chunk is a
separate file until all are done, so that a killed run resumes with the next chunk.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from e2emern.model.document import Document, Passage
from e2emern.model.errors import FileError
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.network import E2emernModel
from e2emern.model.precision import fastest_batch
from e2emern.model.seen import Seen, format_seen, read_seen, union
from e2emern.model.tokenization import longest_window, make_windows, pieces_digest
from e2emern.model.training.distillation import SEEN, described, silver_table, tag_windows
from e2emern.model.training.name_labels import NamedSpan, find_names, label_names, with_names
from e2emern.model.training.pretrain import read_lines
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import load_whole, read_vocabulary
from e2emern.tasks.resolve import check_output, read_mesh_version
from e2emern.tasks.sentences import split_sentences
from e2emern.tasks.training.passages import Chosen, rich_in_names, with_rare_names
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.parquet import TableWriter, read_table

CHUNK = 100  # passages
LEAST_PIECES = 8  # word pieces of a sentence; shorter ones are section numbers and the like
ONE_WITHOUT = 5  # one in this many sentences without a rare name is kept too


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """Counts of tagged sentences, their word pieces, and their passages."""

    sentences: int
    pieces: int
    passages: int


def make_silver(
    text: Path,
    *,
    teachers: Sequence[Path],
    mesh: Path,
    output: Path,
    pieces: int,
    names: bool = False,
    seed: int = 0,
    device: str,
    log: Callable[[str], None],
) -> Tagged:
    """Tag sentences of a text until they have `pieces` word pieces or no passage is left, and write them to `output`.

    Args:
        names: label names of the vocabulary as mentions (`model.training.name_labels`), in passages with rare ones.
        text: one passage per line, plain or .xz.
        teachers: model folders with the same encoder vocabulary and types; the mean of their probabilities is stored.
        mesh: entities table, whose names decide which passages are rich.
        seed: determines the order of the passages.

        Raises InputError if the models do not fit together, `output` is a folder, or it was begun with other input.
    """
    read_mesh_version(mesh)
    check_output(output)
    models, tokenizer, versions = _load_teachers(teachers, device=device)
    seen = _seen_by(teachers)
    lines = [line for lines in read_lines(text) for line in lines]
    vocabulary = read_vocabulary(mesh)
    made_from = {
        "text": _digest(lines),
        "teachers": versions,
        "vocabulary": vocabulary.digest,
        "names": names,
        "seed": seed,
    }
    if (kept := _kept(output, made_from | {"pieces": pieces})) is not None:
        log(f"{output} is already tagged")
        return kept
    listed = ListedNames(vocabulary) if names else None
    passages = with_rare_names(lines, listed, seed=seed) if listed else rich_in_names(lines, vocabulary, seed=seed)
    if not passages:
        raise InputError("has no passage that is rich in names of diseases and chemicals", path=text)
    parts = _begin(output, made_from)
    chosen = (passages[start : start + CHUNK] for start in range(0, len(passages), CHUNK))
    tag = partial(_tag, models=models, tokenizer=tokenizer, listed=listed, device=device)
    tables = _tag_parts(chosen, tag, parts, pieces=pieces, log=log)
    table, tags = pa.concat_tables(tables), models[0].config.tags
    if names:
        table, labelled = label_names(table, vocabulary=vocabulary, tags=tags)
        log(f"{labelled:,} names of the vocabulary are mentions")
    table = described(table, tags=tags, tokenizer=tokenizer)
    tagged_in_all = Tagged(
        sentences=table.num_rows, pieces=_pieces(table), passages=min(len(passages), len(tables) * CHUNK)
    )
    metadata: dict[str, Any] = {"made_from": made_from | {"pieces": pieces}, "tagged": asdict(tagged_in_all)}
    _write(_with_metadata(table, metadata, seen), output)
    shutil.rmtree(parts)
    return tagged_in_all


def _with_metadata(table: pa.Table, metadata: dict[str, Any], seen: Seen | None) -> pa.Table:
    encoded = {key.encode(): json.dumps(value).encode() for key, value in metadata.items()}
    if seen is not None:
        encoded[SEEN] = format_seen(seen).encode()
    return table.replace_schema_metadata(table.schema.metadata | encoded)


def _load_teachers(
    teachers: Sequence[Path], *, device: str
) -> tuple[list[E2emernModel], PreTrainedTokenizerBase, list[str]]:
    """Return the models, their tokenizer and their versions. Raises InputError if they do not fit together."""
    loaded = [load_whole(folder, device=device) for folder in teachers]
    models, versions = [model for model, _, _ in loaded], [version for _, _, version in loaded]
    _check_alike(teachers, models, [pieces_digest(its) for _, its, _ in loaded])
    if len(set(versions)) < len(versions):
        raise InputError(f"--model: found models {', '.join(versions)}, expected each once")
    return models, loaded[0][1], versions


def _seen_by(teachers: Sequence[Path]) -> Seen | None:
    """Return the documents that the teachers have seen; None if unknown for one of them. Raises InputError."""
    try:
        return union(map(read_seen, teachers))
    except FileError as error:
        raise InputError(error.reason, path=error.path) from error


def _tag_parts(
    chunks: Iterable[list[Chosen]],
    tag: Callable[[list[Chosen]], pa.Table],
    parts: Path,
    *,
    pieces: int,
    log: Callable[[str], None],
) -> list[pa.Table]:
    """Tag chunks of passages until they have `pieces` word pieces.

    Each chunk is written to a file in `parts`, so that an interrupted run resumes.
    """
    tables: list[pa.Table] = []
    done, tagged, started = 0, 0, time.monotonic()
    for number, passages in enumerate(chunks):
        part = parts / f"{number * CHUNK:08}.parquet"
        new = not part.exists()
        if new:
            _write(tag(passages), part)
        tables.append(_read(part))
        found = _pieces(tables[-1])
        done, tagged = done + found, tagged + (found if new else 0)
        if done >= pieces:
            break
        if new and tagged:
            minutes = (pieces - done) * (time.monotonic() - started) / tagged / 60
            log(f"{done:,} of {pieces:,} word pieces tagged, {minutes:.0f} min left")
    return tables


def _kept(output: Path, made_from: dict[str, Any]) -> Tagged | None:
    """Return the counts of a finished run with the same input; None if there is none."""
    try:
        metadata = pq.read_schema(output).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    if metadata.get(b"made_from") != json.dumps(made_from).encode():
        return None
    return Tagged(**json.loads(metadata[b"tagged"]))


def _tag(
    passages: Sequence[Chosen],
    *,
    models: Sequence[E2emernModel],
    tokenizer: PreTrainedTokenizerBase,
    listed: ListedNames | None,
    device: str,
) -> pa.Table:
    documents = [Document(str(at), at, (Passage("abstract", 0, text),)) for at, (text, _) in enumerate(passages)]
    longest = min(longest_window(model.encoder) for model in models)
    sentences = [split_sentences(document) for document in documents]
    windows = make_windows(sentences, tokenizer=tokenizer, max_pieces=longest)
    windows = [window for window in windows if len(window) >= LEAST_PIECES]
    names: list[list[NamedSpan]] = []
    if listed is not None:
        texts = [sentences[window.document][window.sentence].text for window in windows]
        named = [find_names(window, text, listed) for window, text in zip(windows, texts, strict=True)]
        kept = [
            at
            for at, found in enumerate(named)
            if any(each.name in passages[windows[at].document][1] for each in found)
            or zlib.crc32(texts[at].encode()) % ONE_WITHOUT == 0
        ]
        windows, names = [windows[at] for at in kept], [named[at] for at in kept]
    tagged = tag_windows(models, windows, padding=int(tokenizer.pad_token_id), tokens=fastest_batch(device))
    table = silver_table(windows, tagged)
    return table if listed is None else with_names(table, names)


def _check_alike(teachers: Sequence[Path], models: Sequence[E2emernModel], pieces: Sequence[str]) -> None:
    for folder, model, its in zip(teachers, models, pieces, strict=True):
        for what, one, first in (("tags", model.config.tags, models[0].config.tags), ("word pieces", its, pieces[0])):
            if one != first:
                raise InputError(f"its {what} are not those of {teachers[0]}", path=folder)


def _begin(output: Path, made_from: dict[str, Any]) -> Path:
    """Return the folder of the chunks: a new one, or that of a killed run with the same input."""
    parts = output.with_name(output.name + ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    record, wanted = parts / "made_from.json", json.dumps(made_from).encode()
    if not record.exists():
        with atomic_write(record) as file:
            file.write(wanted)
    elif record.read_bytes() != wanted:
        raise InputError(f"{parts} was begun with another text, vocabulary or seed, or other models; delete it")
    return parts


def _write(table: pa.Table, path: Path) -> None:
    with TableWriter(path, table.schema) as writer:
        writer.append(table)


def _read(part: Path) -> pa.Table:
    try:
        return read_table(part)
    except WarehouseError as error:
        raise InputError("is damaged; delete it, and the same command tags its sentences again", path=part) from error


def _pieces(table: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(table.column("pieces"))).as_py() or 0)


def _digest(lines: Sequence[str]) -> str:
    hashed = hashlib.sha256()
    for line in lines:
        hashed.update(line.encode() + b"\n")
    return hashed.hexdigest()[:16]
