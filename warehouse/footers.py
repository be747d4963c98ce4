"""The SHA-256 of a Parquet footer, stored in the file in front of the footer.

The footer holds the schema, the statistics, the place of every page and the metadata, and the checksums of the pages
do not cover it. Readers find it from the end of the file, so they ignore the bytes in front of it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_MARK = b"e2emern: SHA-256 of the footer "
_SEAL = len(_MARK) + hashlib.sha256().digest_size  # bytes
_END = 8  # bytes: the length of the footer, and the magic number
_TAIL = 64 * 1024  # bytes; most footers fit


def seal_footer(file: BinaryIO) -> None:
    """Store the digest of the footer in a Parquet file, open for reading and writing, unless it is there already."""
    found, footer = _read(file)
    if found != _seal(footer):
        file.seek(-len(footer), os.SEEK_END)
        file.write(_seal(footer) + footer)


def check_footer(path: Path) -> None:
    """Compare the footer of a file with its digest. Raises ValueError if they differ or there is none."""
    with path.open("rb") as file:
        found, footer = _read(file)
    if found != _seal(footer):
        raise ValueError("its footer differs from its SHA-256")


def without_seal(content: bytes) -> bytes:
    """Return the content of a Parquet file without the digest of its footer."""
    start = len(content) - _footer_length(content) - _SEAL
    sealed = start >= 0 and content[start:].startswith(_MARK)
    return content[:start] + content[start + _SEAL :] if sealed else content


def _read(file: BinaryIO) -> tuple[bytes, bytes]:
    """Return what is stored in front of the footer, and the footer with the eight bytes after it."""
    size = file.seek(0, os.SEEK_END)
    tail = _last(file, min(size, _TAIL))
    length = min(_footer_length(tail), size)
    if length + _SEAL > len(tail):
        tail = _last(file, min(size, length + _SEAL))
    return tail[-length - _SEAL : -length], tail[-length:]


def _last(file: BinaryIO, count: int) -> bytes:
    file.seek(-count, os.SEEK_END)
    return file.read()


def _footer_length(content: bytes) -> int:
    return int.from_bytes(content[-_END:-4], "little") + _END


def _seal(footer: bytes) -> bytes:
    return _MARK + hashlib.sha256(footer).digest()
