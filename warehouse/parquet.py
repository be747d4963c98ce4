"""Write a table as one immutable Parquet file, and read such a file or its metadata.

The same rows give the same bytes, however they are split into `append` calls: row groups end at fixed row positions,
and nothing in the file depends on the time or the machine. Each page has a checksum (CRC-32, field `crc` of PageHeader
in the Parquet format), and the footer has a digest (`warehouse.footers`). pyarrow verifies the checksums and DuckDB
does not, so DuckDB may make new rows only from pages that `verify_pages` has read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse.errors import SchemaMismatchError, WarehouseError
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.footers import check_footer, seal_footer
from e2emern.warehouse.wording import one_line

_BLOCK_ROWS = 256  # row groups end at a multiple of this
_GROUP_ROWS = 256 * 1024  # each group has its own dictionary to read, so few groups are fast
_GROUP_BYTES = 64 * 1024 * 1024  # bounds memory when rows hold full texts
_BATCH_ROWS = 64 * 1024
_COMPRESSION: Literal["zstd", "gzip"] = "zstd"

Rows = Sequence[Mapping[str, Any]] | pa.Table | pa.RecordBatch


class TableWriter:
    """Append rows to a Parquet file that appears, complete, when the block ends without an exception.

    `metadata` becomes the file's key-value metadata; entries may be added until the block ends. After an exception or
    a kill, no file exists under the final name.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, metadata: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.schema = schema
        self.metadata: dict[str, str] = dict(metadata or {})
        self.rows = 0
        self._loose: list[pa.Table] = []  # fewer than _BLOCK_ROWS rows; no table is empty
        self._group: list[pa.Table] = []  # complete blocks
        self._group_bytes = 0

    def __enter__(self) -> TableWriter:
        self._file: AbstractContextManager[BinaryIO] = atomic_write(self.path)
        self._out = self._file.__enter__()
        self._sink = pq.ParquetWriter(self._out, self.schema, compression=_COMPRESSION, write_page_checksum=True)
        return self

    def append(self, rows: Rows) -> pa.Table:
        """Append rows and return them as a table.

        Raises `SchemaMismatchError`, with what was found and expected, if they do not fit the schema.
        """
        table = _as_table(rows, self.schema, where=f"{self.path.name}, after row {self.rows}")
        if not len(table):
            return table
        self.rows += len(table)
        self._loose.append(table)
        if sum(map(len, self._loose)) >= _BLOCK_ROWS:
            self._take_blocks()
        return table

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._group.extend(self._loose)
                self._write_group()
                self._sink.add_key_value_metadata(dict(sorted(self.metadata.items())))
            self._sink.close()
            if kind is None:
                seal_footer(self._out)
        except BaseException as failed:
            self._file.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._file.__exit__(kind, error, trace)

    def _take_blocks(self) -> None:
        loose = pa.concat_tables(self._loose)
        whole = len(loose) - len(loose) % _BLOCK_ROWS
        for start in range(0, whole, _BLOCK_ROWS):
            block = loose.slice(start, _BLOCK_ROWS)
            self._group.append(block)
            self._group_bytes += block.nbytes
            if self._group_bytes >= _GROUP_BYTES or len(self._group) * _BLOCK_ROWS >= _GROUP_ROWS:
                self._write_group()
        self._loose = [loose.slice(whole)] if whole < len(loose) else []

    def _write_group(self) -> None:
        if rows := sum(map(len, self._group)):
            # one chunk: page boundaries follow chunks
            self._sink.write_table(pa.concat_tables(self._group).combine_chunks(), row_group_size=rows)
        self._group, self._group_bytes = [], 0


def read_metadata(path: Path) -> dict[str, str]:
    """Return the key-value metadata of a Parquet file, without Arrow's own entry.

    Raises `WarehouseError` if the file is absent, is not a Parquet file, or has a damaged footer.
    """
    try:
        check_footer(path)
        found = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException, ValueError) as error:
        raise WarehouseError("cannot be read as Parquet; delete it and annotate its source again", path=path) from error
    return {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}


def read_batches(
    path: Path, *, columns: Sequence[str] | None = None, rows: int = _BATCH_ROWS, first: int = 0
) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file in batches of at most `rows` rows, and verify the footer and every page that is read.

    The rows before `first`, a multiple of `rows`, are skipped. Raises `WarehouseError` if the file is damaged, OSError
    if it cannot be read now.
    """
    with _verified(path) as file:
        groups = list(range(file.num_row_groups))
        while groups and (size := file.metadata.row_group(groups[0]).num_rows) <= first:
            first -= size
            groups.pop(0)
        for batch in file.iter_batches(rows, row_groups=groups, columns=None if columns is None else list(columns)):
            if first <= 0:
                yield batch
            first -= len(batch)


@contextmanager
def _verified(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file after verifying its footer; damage found while reading raises the errors of `read_batches`."""
    try:
        check_footer(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, OSError) and error.errno:  # shared storage may be unavailable for a moment
            raise
        raise WarehouseError(f"is damaged ({one_line(error)}); see e2emern doctor (damaged-file)", path=path) from error


def read_table(path: Path) -> pa.Table:
    """Return the rows of a Parquet file; verify its footer and every page. Raises the errors of `read_batches`."""
    with _verified(path) as file:
        return file.read()


def verify_pages(path: Path, *, columns: Sequence[str] | None = None) -> None:
    """Verify the footer and the pages of some columns, by default of all. Raises the errors of `read_batches`."""
    for _ in read_batches(path, columns=columns):
        pass


def _as_table(rows: Rows, schema: pa.Schema, *, where: str) -> pa.Table:
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    if not isinstance(rows, pa.Table):
        rows = _table_of_dicts(rows, schema, where=where)
    found = [f"{field.name}: {field.type}" for field in rows.schema]
    expected = [f"{field.name}: {field.type}" for field in schema]
    if found != expected:
        raise SchemaMismatchError(f"{where}: found columns {', '.join(found)}; expected {', '.join(expected)}")
    for field, column in zip(schema, rows.columns, strict=True):
        if column.null_count and not field.nullable:
            raise SchemaMismatchError(f"{where}: column {field.name}: found null, expected {field.type}")
    return pa.Table.from_arrays(rows.columns, schema=schema)


def _table_of_dicts(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, where: str) -> pa.Table:
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:
            raise SchemaMismatchError(
                f"{where}: found keys {', '.join(sorted(row))}; expected {', '.join(schema.names)}"
            )
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([row[field.name] for row in rows], field.type))
        except (ValueError, TypeError, OverflowError) as error:
            value = next(row[field.name] for row in rows if not _fits(row[field.name], field.type))
            raise SchemaMismatchError(
                f"{where}: column {field.name}: found {repr(value)[:80]}, expected {field.type}"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _fits(value: object, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (ValueError, TypeError, OverflowError):
        return False
    return True
