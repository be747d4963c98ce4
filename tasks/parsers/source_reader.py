"""Open a source for reading: plain, gzip or xz by its first bytes, with a limit on its decompressed size.

`SourceReader.read` returns all bytes before the damage before it raises, so that no valid record is lost.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.foreign import foreign, not_utf8

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ"
CHUNK = 64 * 1024  # bytes
_HEAD = 1024  # bytes that suffice to recognize content that no parser reads
MAX_LINE = 16 * 1024 * 1024  # bytes
MAX_RATIO = 200  # decompressed over compressed bytes; PubMed's own files stay below 15
RATIO_FREE = 100_000_000  # decompressed bytes below which any ratio is accepted


class SourceReader:
    """A readable source that raises only `SourceError`."""

    def __init__(self, file: BinaryIO, path: Path, *, expected: str, max_ratio: float, ratio_free: int) -> None:
        self._path = path
        self._expected = expected
        self._file = file
        self._max_ratio = max_ratio
        self._ratio_free = ratio_free
        self._size = 0  # decompressed bytes
        self._head: bytes | None = None  # the first bytes that were not returned yet
        self._damage: SourceError | None = None  # met while reading the first bytes
        magic = file.read(len(XZ_MAGIC))
        file.seek(0)
        self._packed: gzip.GzipFile | lzma.LZMAFile | None = None
        if magic.startswith(GZIP_MAGIC):
            self._packed = gzip.GzipFile(fileobj=file)
        elif magic == XZ_MAGIC:
            self._packed = lzma.LZMAFile(file)

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes, at most `size` of them; empty at the end.

        Raises SourceError if the source is empty, cannot be read, holds what no parser reads (an archive, a PDF, see
        `foreign`), is a damaged gzip or xz, or unpacks to more than `max_ratio` times its size.
        """
        if self._head is None:
            self._head = self._read_head()
        if self._head or not size:
            data, self._head = self._head[:size], self._head[size:]
            return data
        if self._damage:
            raise self._damage
        return self._unpack(size)

    def _read_head(self) -> bytes:
        """Read ahead, since a packed source may give a few bytes at a time, and refuse what no parser reads."""
        head = self._unpack(CHUNK)
        while len(head) < _HEAD:
            try:
                more = self._unpack(CHUNK)
            except SourceError as error:  # raised after the bytes before it
                self._damage = error
                break
            if not more:
                break
            head += more
        if what := foreign(head):
            todo = "" if ";" in what else f"; expected {self._expected}"
            raise SourceError(f"{what}{todo}", path=self._path)
        return head

    def _unpack(self, size: int) -> bytes:
        try:
            # read1, since read would drop the bytes that precede a damage in the same call
            data = self._packed.read1(size) if self._packed else self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            packing = "xz" if isinstance(self._packed, lzma.LZMAFile) else "gzip"
            raise SourceError(
                f"{packing} damaged after {self._size:,} decompressed bytes ({error}); download the file again",
                path=self._path,
            ) from error
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror or error})", path=self._path) from error
        if not data and self._size == 0:
            raise SourceError(f"the file is empty; expected {self._expected}", path=self._path)
        self._size += len(data)
        packed = self._file.tell() if self._packed else 0
        if self._packed and self._size > max(self._ratio_free, self._max_ratio * packed):
            raise SourceError(
                f"{packed:,} compressed bytes unpack to {self._size:,} and more, "
                f"over {self._max_ratio} times as many; refused as a decompression bomb; unpack it if you trust it",
                path=self._path,
            )
        return data

    def chunks(self) -> Iterator[bytes]:
        """Yield the source in pieces. Raises SourceError as `read` does."""
        while data := self.read(CHUNK):
            yield data

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield each line of a UTF-8 source with its 1-based number, without its line end and a byte order mark.

        Every line may begin with such a mark, since files are joined by `cat`.

        Raises SourceError as `raw_lines` does, and for a line that is not UTF-8, after the lines that precede it.
        """
        for number, line in self.raw_lines():
            try:
                yield number, line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise SourceError(not_utf8(line, error.start), path=self._path, where=f"line {number}") from error

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line with its 1-based number, without its line end.

        Raises SourceError as `read` does, and for a line longer than `MAX_LINE` bytes, after the lines that precede it.
        """
        number = 0
        rest = b""
        for chunk in chain(self.chunks(), [b""]):  # the empty piece marks the end
            *whole, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                whole, rest = [*whole, rest], b""
            for line in whole:
                number += 1
                yield number, line.removesuffix(b"\r")
            if len(rest) > MAX_LINE:
                raise SourceError(
                    f"line {number + 1} is longer than {MAX_LINE:,} bytes; expected {self._expected}", path=self._path
                )


@contextmanager
def open_source(
    path: Path,
    *,
    expected: str = "PubMed XML, PubTator or BioC",
    max_ratio: float = MAX_RATIO,
    ratio_free: int = RATIO_FREE,
) -> Iterator[SourceReader]:
    """Open a plain, gzip or xz file; `expected` names its formats, for the error about an empty one.

    `max_ratio` bounds decompressed over compressed bytes once more than `ratio_free` bytes are decompressed.
    Raises SourceError when the file cannot be opened; reading raises SourceError, too.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be opened ({getattr(error, 'strerror', None) or error})", path=path) from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SourceError("not a regular file but a pipe, socket or device", path=path)
        try:
            reader = SourceReader(file, path, expected=expected, max_ratio=max_ratio, ratio_free=ratio_free)
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror or error})", path=path) from error
        yield reader


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
