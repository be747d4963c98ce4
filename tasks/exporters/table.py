"""Write mentions as a table, one row for each mention: CSV, TSV or Parquet, with the columns of the view `mentions`.

CSV follows RFC 4180: every text is in quotes, a missing value is empty without quotes. TSV follows the registration of
text/tab-separated-values (IANA): no quotes, so tabs and line ends in a text become spaces. A spreadsheet runs a text
that begins with `=`, `+`, `-` or `@` as a formula (OWASP, CSV injection). CSV and TSV put an apostrophe before such a
text, and before one that begins with apostrophes and such a character, so that `unguarded` is unambiguous. Parquet
keeps every value as it is.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from e2emern.warehouse.schemas import MENTIONS

COLUMNS = (
    "document_id", "pmid", "sentence", "start", "end", "text", "entity_type", "mesh_id", "mesh_name",
    "ner_score", "mid_score", "high_score", "link_score", "how", "model_version", "mesh_version", "source", "record",
)  # fmt: skip
SCHEMA = pa.schema([MENTIONS.field(name) for name in COLUMNS])

Row = dict[str, Any]

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # spreadsheets skip white space before a formula
_GUARDED = re.compile(r"''*[=+\-@\t\r\n]")
_NOT_IN_TSV = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_BATCH_ROWS = 8192


def guarded(text: str) -> str:
    """Put an apostrophe before a text that spreadsheets would run as a formula; return any other text unchanged."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given."""
    return text[1:] if _GUARDED.match(text) else text


def written_in_csv(row: Row) -> Row:
    """Return a row as CSV represents it."""
    return {name: guarded(value) if isinstance(value, str) else value for name, value in row.items()}


def written_in_tsv(row: Row) -> Row:
    """Return a row as TSV represents it."""
    return written_in_csv(
        {name: _NOT_IN_TSV.sub(" ", value) if isinstance(value, str) else value for name, value in row.items()}
    )


def write_csv(rows: Iterable[Row], out: BinaryIO) -> None:
    """Write CSV with a header."""
    with pyarrow.csv.CSVWriter(out, SCHEMA) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


def write_tsv(rows: Iterable[Row], out: BinaryIO) -> None:
    """Write TSV with a header; no value may have a tab or a line end."""
    out.write(("\t".join(COLUMNS) + "\n").encode())
    kinds = [pa.types.is_float32(field.type) for field in SCHEMA]
    for row in rows:
        cells = [_cell(row[name], is_float=kind) for name, kind in zip(COLUMNS, kinds, strict=True)]
        out.write(("\t".join(cells) + "\n").encode())


def write_parquet(rows: Iterable[Row], out: BinaryIO) -> None:
    """Write Parquet with the schema of the view, compressed with Zstandard."""
    if not out.seekable() or out.tell():  # a pipe has no position, and Arrow counts from the beginning of the file
        with tempfile.TemporaryFile() as file:
            write_parquet(rows, file)
            file.seek(0)
            shutil.copyfileobj(file, out)
        return
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


WRITERS: dict[str, tuple[Callable[[Iterable[Row], BinaryIO], None], Callable[[Row], Row] | None]] = {
    "csv": (write_csv, written_in_csv),
    "tsv": (write_tsv, written_in_tsv),
    "parquet": (write_parquet, None),
}
"""For each format its writer, and the function that converts a row for it."""


def _batches(rows: Iterable[Row]) -> Iterator[pa.RecordBatch]:
    unread = iter(rows)
    while some := list(islice(unread, _BATCH_ROWS)):
        yield pa.RecordBatch.from_pylist(some, schema=SCHEMA)


def _cell(value: object, *, is_float: bool) -> str:
    if value is None:
        return ""
    return str(np.float32(value)) if is_float else str(value)  # type: ignore[arg-type]  # a number by the schema
