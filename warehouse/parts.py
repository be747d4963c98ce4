"""Parts of sources: some documents of a source, annotated by a model ahead of the others.

A part stands in a little home of its own, `backfill/MODEL@MESH/PART/`, with the documents of the source that were asked
for and, once they are annotated, their mentions. It is shown by no snapshot. When the model annotates the whole source,
its mentions are carried over (`warehouse.carry`), and no document is read twice.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import WarehouseError
from warehouse.layout import Home, SourceKey
from warehouse.ledger import ParsedBooks, read_parsed
from warehouse.parquet import TableWriter
from warehouse.schemas import DELETIONS, DOCUMENTS, FAILURES

_BATCH_ROWS = 1024


def part_homes(home: Home, *, model_version: str, mesh_version: str) -> list[Home]:
    """Returns the little homes of all parts of one model and vocabulary."""
    folder = home.parts(model_version=model_version, mesh_version=mesh_version)
    return [Home(path) for path in sorted(folder.glob("[!.]*/"))]


def done_records(home: Home, key: SourceKey, *, model_version: str, mesh_version: str) -> frozenset[int]:
    """Returns the records of a source that are annotated in parts of it.

    Raises `WarehouseError` for a part that is damaged.
    """
    versions = {"model_version": model_version, "mesh_version": mesh_version}
    done: set[int] = set()
    for part in part_homes(home, **versions):
        if part.mentions(key, **versions).exists() and part.documents(key).exists():
            done.update(_records(part.documents(key)))
    return frozenset(done)


def begin_part(
    home: Home, key: SourceKey, records: Iterable[int], *, model_version: str, mesh_version: str
) -> tuple[Home, ParsedBooks]:
    """Writes the documents of some records of a source into a little home, unless they are there, and its books.

    The same records give the same home, so that whoever was stopped goes on. Raises `WarehouseError` where the
    documents of the source are not there or cannot be read.
    """
    wanted = sorted(records)
    name = hashlib.sha256(f"{key.stem} {wanted}".encode()).hexdigest()[:16]
    part = Home(home.parts(model_version=model_version, mesh_version=mesh_version) / name)
    whole = read_parsed(home.documents(key))
    books = ParsedBooks(
        key=key,
        format=whole.format,
        bytes=whole.bytes,
        documents=len(wanted),
        unusable=0,
        deleted=0,
        invalid_annotations=0,
    )
    if not part.documents(key).exists():
        with (
            TableWriter(part.documents(key), DOCUMENTS, metadata=books.to_metadata()) as documents,
            TableWriter(part.deletions(key), DELETIONS),
            TableWriter(part.failures(key), FAILURES),
            pq.ParquetFile(home.documents(key)) as file,
        ):
            for batch in file.iter_batches(_BATCH_ROWS):
                chosen = batch.filter(pc.is_in(batch["record"], pa.array(wanted, pa.int64())))
                documents.append(pa.Table.from_batches([chosen]).cast(DOCUMENTS))
    return part, books


def drop_parts(home: Home, *, model_version: str, mesh_version: str) -> None:
    """Deletes all parts of one model and vocabulary, when the sources that they are of are done as a whole."""
    shutil.rmtree(home.parts(model_version=model_version, mesh_version=mesh_version), ignore_errors=True)


def _records(documents: Path) -> list[int]:
    try:
        column = pq.read_table(documents, columns=["record"])["record"]
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"{documents} cannot be read; delete it and run the same again") from error
    return [int(record) for record in column.to_numpy()]
