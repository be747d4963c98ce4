"""Parse tables: CSV, TSV, JSON lines and Parquet, one document per row.

CSV: RFC 4180, with the delimiter that splits the first line into most columns: a comma, tab, semicolon or `|`. A quoted
cell may span lines. Parquet: https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.columns import Columns, choose_columns, read_row, row_id
from e2emern.tasks.parsers.jsonl import json_object, json_rows
from e2emern.tasks.parsers.records import Failure, Record, RecordError
from e2emern.tasks.parsers.source_reader import (
    MAX_RATIO,
    RATIO_FREE,
    Input,
    Member,
    SourceReader,
    open_file,
    open_source,
)
from e2emern.warehouse.wording import one_line, plural

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

LONGEST_CELL = 1_000_000  # characters: limits the damage of an unclosed quote

_DELIMITERS = ",\t;|"
_ROWS = 64  # of Parquet at once: a cell may be large
_NO_ROW = "has column names but no rows"


def parse_csv(path: Input, *, name: str, columns: Columns) -> Iterator[Record]:
    """Yield the record of each row: a Document, or a Failure if it has other fields than the header, or no id.

    Raises SourceError if it has no row or no column of text, or the file cannot be read to its end.
    """
    with open_source(path, expected="a table with column names in its first line") as source:
        lines = _Lines(source)
        first = next((line for line in lines if line.strip()), "")
        header = split_header(first)
        chosen = _chosen(header, columns, path)
        csv.field_size_limit(LONGEST_CELL)
        reader = csv.reader(lines, delimiter=_delimiter(first), strict=True)
        record = 0
        while True:
            begin, row = lines.number + 1, dict[str, object]()
            try:
                cells = next(reader, None)
                if cells is None:
                    break
                if not cells:  # a blank line
                    continue
                if len(cells) != len(header):
                    raise RecordError(
                        f"found {plural(len(cells), 'field')}, expected {len(header)} as in the first line"
                    )
                row = dict(zip(header, cells, strict=True))
                yield read_row(row, chosen, record=record, name=name)
            except csv.Error as error:
                to = f" up to line {lines.number}" if lines.number > begin else ""
                reason = f"a quote is missing, or a cell is longer than {LONGEST_CELL:,} characters{to} ({error})"
                yield Failure(record, f"line {begin}", reason)
            except RecordError as error:
                yield Failure(record, f"line {begin}", str(error), row_id(row, chosen))
            record += 1
    if not record:
        raise SourceError(_NO_ROW, path=path)


def parse_json_rows(path: Input, *, name: str, columns: Columns) -> Iterator[Record]:
    """Yield the record of each JSON object, which may lack keys of the first. Raises SourceError as `parse_jsonl`."""
    choose = lru_cache(maxsize=64)(lambda names: choose_columns(names, columns))
    for record, number, line in json_rows(path):
        chosen, row = Columns(), dict[str, object]()
        try:
            row = dict(json_object(line))
            chosen = choose(tuple(row))
            yield read_row(row, chosen, record=record, name=name)
        except RecordError as error:
            yield Failure(record, f"line {number}", str(error), row_id(row, chosen))


def parse_parquet(path: Input, *, name: str, columns: Columns) -> Iterator[Record]:
    """Yield the record of each row. Raises SourceError if the file is damaged, or has no row or column of text."""
    record, characters = 0, 0
    with _parquet(path) as (table, size):
        chosen = _chosen(table.schema_arrow.names, columns, path)
        for batch in table.iter_batches(batch_size=_ROWS, columns=chosen.names):
            for row in _rows(batch):
                characters += sum(len(each) for each in row.values() if isinstance(each, str | bytes))
                if characters > max(RATIO_FREE, MAX_RATIO * size):
                    raise SourceError(
                        f"its {size:,} bytes hold more than {characters:,} characters; refused as a decompression bomb",
                        path=path,
                    )
                try:
                    yield read_row(row, chosen, record=record, name=name)
                except RecordError as error:
                    yield Failure(record, f"row {record + 1}", str(error), row_id(row, chosen))
                record += 1
    if not record:
        raise SourceError(_NO_ROW, path=path)


def _rows(batch: pa.RecordBatch) -> list[dict[str, object]]:
    """Return the rows of a batch; if a text is not UTF-8, all texts are bytes, and `read_row` refuses only that one."""
    import pyarrow as pa

    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        plain = [each.dictionary_decode() if isinstance(each, pa.DictionaryArray) else each for each in batch.columns]
        texts = [pa.types.is_string(each.type) or pa.types.is_large_string(each.type) for each in plain]
        columns = [each.cast(pa.large_binary()) if text else each for each, text in zip(plain, texts, strict=True)]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()


def columns_of(path: Input, form: str) -> list[str]:
    """Return the column names of a table of this form: `csv`, `json-lines` or `parquet`. Raises SourceError."""
    if form == "csv":
        with open_source(path) as source:
            first = next((line for _, line in source.raw_lines() if line.strip()), b"")
        return split_header(first.decode("utf-8-sig", "replace"))
    if form == "json-lines":
        for _, _, line in json_rows(path):
            try:
                return list(json_object(line))
            except RecordError as error:
                raise SourceError(str(error), path=path) from error
        return []
    with _parquet(path) as (table, _):
        return list(table.schema_arrow.names)


def split_header(line: str) -> list[str]:
    """Return the column names of the first line of a CSV or TSV file."""
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=_delimiter(line)), [])]
    except csv.Error:
        return []


def _delimiter(line: str) -> str:
    """Return the delimiter that splits a line into most columns; the comma if none does."""

    def cells(delimiter: str) -> int:
        try:
            return len(next(csv.reader([line.strip("\r\n")], delimiter=delimiter), []))
        except csv.Error:
            return 0

    return max(_DELIMITERS, key=cells)


class _Lines:
    """The lines of a source with their ends; bytes that are not UTF-8 become surrogates, which `read_row` refuses."""

    def __init__(self, source: SourceReader) -> None:
        self.number = 0  # of the line that was read last, from 1
        self._lines = source.raw_lines()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        return line.decode("utf-8-sig" if self.number == 1 else "utf-8", "surrogateescape") + "\n"


def _chosen(names: Sequence[str], columns: Columns, path: Input) -> Columns:
    try:
        return choose_columns(names, columns)
    except RecordError as error:
        raise SourceError(str(error), path=path) from error


@contextmanager
def _parquet(path: Input) -> Iterator[tuple[pq.ParquetFile, int]]:
    """Open a Parquet file, and yield it with its size in bytes. Page checksums are verified if it has any.

    Raises SourceError for any damage found in the block, including text that is not UTF-8.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            yield pq.ParquetFile(file, page_checksum_verification=True), size
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise SourceError(f"not a readable Parquet file ({one_line(error)})", path=path) from error


@contextmanager
def _opened(path: Input) -> Iterator[BinaryIO]:
    if isinstance(path, Member):
        path.file.seek(0)
        yield path.file
    else:
        with open_file(path) as file:
            yield file
