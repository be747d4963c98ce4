"""Files that are whole or absent: written beside their name, flushed to the disk, renamed.

The warehouse has the same with locks (`warehouse.files`), which this package must not import.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq


@contextmanager
def beside(path: Path, *, suffix: str = ".tmp") -> Iterator[Path]:
    """Gives a path to write to that becomes `path` when the block ends without an exception.

    Args:
        suffix: of the name until then; one of its own for each of several writers.
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


def file_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def check_columns(path: Path, names: Sequence[str], *, expected: str) -> None:
    """Checks that a Parquet file has columns of these names. Raises ValueError."""
    found = pq.read_schema(path).names
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; expected {expected}")


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8, whole or not at all."""
    with beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
