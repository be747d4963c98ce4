"""Atomic writes: a file is written under a temporary name, flushed to the disk and renamed.

`warehouse.files` does the same with locks; this package must not import it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.model.errors import FileError, first_line

_UMASK = os.umask(0)  # reading it requires setting it
os.umask(_UMASK)


@contextmanager
def atomic_path(path: Path, *, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends without an exception.

    Args:
        suffix: of the temporary name; several writers of one file need different ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + suffix)
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def share(path: Path) -> None:
    """Give a file the default permissions of a new file: safetensors makes its files readable only by their owner."""
    path.chmod(0o666 & ~_UMASK)


def file_digest(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def read_table(path: Path, *, columns: Sequence[str], expected: str, schema: pa.Schema | None = None) -> pa.Table:
    """Read columns of a Parquet file; `schema` casts them.

    Raises:
        FileError: the file cannot be read, or lacks a column; `expected` names what it should be.
    """
    try:
        found = pq.read_schema(path).names
        if missing := [name for name in columns if name not in found]:
            raise FileError(f"no column {', '.join(missing)}; expected {expected}", path)
        if schema is None:  # pq.read_table imports pandas, which is slow
            return pq.ParquetFile(path, page_checksum_verification=True).read(columns=list(columns))
        return pq.read_table(path, schema=schema, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise FileError(first_line(error), path) from error


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file with a checksum of each page, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
