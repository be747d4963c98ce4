"""Open a source for reading: plain, gzip, xz, bzip2 or zstd by its first bytes, with a limit on its decompressed size.

`SourceReader.read` first returns all bytes that precede the damage, then raises, so that no valid record is lost.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.foreign import BZIP2, container, foreign, not_utf8

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LONGEST_MAGIC = 10  # bytes
CHUNK = 64 * 1024  # bytes
_HEAD = 1024  # bytes that suffice to recognize content that no parser reads
MAX_LINE = 16 * 1024 * 1024  # bytes
MAX_RATIO = 200  # decompressed over compressed bytes; PubMed's own files stay below 15
RATIO_FREE = 100_000_000  # decompressed bytes below which any ratio is accepted


@dataclass(slots=True)
class Budget:
    """A limit on the decompressed size of a file of `packed` bytes, so that a small file cannot fill the machine."""

    packed: int
    max_ratio: float = MAX_RATIO
    ratio_free: int = RATIO_FREE
    spent: int = 0

    def spend(self, size: int) -> str | None:
        """Count decompressed bytes. Return why the file is refused if there are too many of them."""
        self.spent += size
        if self.spent <= max(self.ratio_free, self.max_ratio * self.packed):
            return None
        return (
            f"{self.packed:,} compressed bytes unpack to {self.spent:,} and more, over {self.max_ratio} times as many; "
            "refused as a decompression bomb; unpack it if you trust it"
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive, unpacked into a file without a name; `budget` is that of the archive."""

    name: str
    file: BinaryIO
    budget: Budget

    def __str__(self) -> str:
        return self.name


Input = Path | Member
"""The input of a parser."""


class SourceReader:
    """A readable source that raises only `SourceError`."""

    def __init__(self, file: BinaryIO, path: Input, *, expected: str, budget: Budget, containers: bool) -> None:
        self._path = path
        self._expected = expected
        self._file = file
        self._budget = budget
        self._containers = containers
        self._size = 0  # decompressed bytes
        self._head: bytes | None = None  # the first bytes that were not returned yet
        self._damage: SourceError | None = None  # met while reading the first bytes
        self._packing, self._packed = _unpacker(file)

    @property
    def packed(self) -> bool:
        """Whether the source is compressed."""
        return self._packed is not None

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes, at most `size` of them; empty at the end.

        Raises SourceError if the source is empty, cannot be read, holds content that no parser reads (an archive, a
        PDF, see `foreign`), is damaged, or unpacks to more than its budget allows.
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
        """Read ahead, since a packed source may return few bytes at a time, and refuse content that no parser reads."""
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
        if not (self._containers and container(head)) and (what := foreign(head)):
            todo = "" if ";" in what else f"; expected {self._expected}"
            raise SourceError(f"{what}{todo}", path=self._path)
        return head

    def _unpack(self, size: int) -> bytes:
        try:
            # read1, since read would drop the bytes that precede damage in the same call
            data = self._packed.read1(size) if self._packed else self._file.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and not (self._packed and error.errno is None):  # BadGzipFile has none
                raise SourceError(f"cannot be read ({error.strerror or error})", path=self._path) from error
            raise SourceError(
                f"{self._packing} damaged after {self._size:,} decompressed bytes ({error}); download the file again",
                path=self._path,
            ) from error
        if not data and self._size == 0:
            raise SourceError(f"the file is empty; expected {self._expected}", path=self._path)
        self._size += len(data)
        if self._packed:
            if isinstance(self._path, Path):  # of a member, the whole archive counts
                self._budget.packed = self._file.tell()
            if bomb := self._budget.spend(len(data)):
                raise SourceError(bomb, path=self._path)
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
    path: Input,
    *,
    expected: str = "PubMed XML, PubTator or BioC",
    max_ratio: float = MAX_RATIO,
    ratio_free: int = RATIO_FREE,
    containers: bool = False,
) -> Iterator[SourceReader]:
    """Open a plain or compressed file; `expected` names the formats, for the error about an empty file.

    `max_ratio` bounds decompressed over compressed bytes once more than `ratio_free` bytes are decompressed. An
    archive or a Parquet file is refused, unless `containers` are expected.
    Raises SourceError when the file cannot be opened; reading raises SourceError, too.
    """
    if isinstance(path, Member):
        path.file.seek(0)
        yield SourceReader(path.file, path, expected=expected, budget=path.budget, containers=containers)
        return
    with open_file(path) as file:
        budget = Budget(0, max_ratio, ratio_free)
        try:
            reader = SourceReader(file, path, expected=expected, budget=budget, containers=containers)
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror or error})", path=path) from error
        yield reader


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file as it is. Raises SourceError."""
    try:
        file = open(path, "rb", opener=_without_waiting)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be opened ({getattr(error, 'strerror', None) or error})", path=path) from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SourceError("not a regular file but a pipe, socket or device", path=path)
        yield file


def _unpacker(file: BinaryIO) -> tuple[str, io.BufferedIOBase | None]:
    """Return the compression of a file by its first bytes, and a reader that decompresses it; None if it is plain."""
    magic = file.read(_LONGEST_MAGIC)
    file.seek(0)
    if magic.startswith(GZIP_MAGIC):
        return "gzip", gzip.GzipFile(fileobj=file, mode="rb")
    if magic.startswith(XZ_MAGIC):
        return "xz", lzma.LZMAFile(file)
    if BZIP2.match(magic):
        return "bzip2", bz2.BZ2File(file)
    if magic.startswith(ZSTD_MAGIC):
        import pyarrow as pa

        # Arrow closes its input when it is done, but a member is read again
        raw = pa.PythonFile(cast(io.RawIOBase, _Unclosed(file)), mode="r")
        return "zstd", cast(io.BufferedIOBase, pa.CompressedInputStream(raw, "zstd"))
    return "", None


class _Unclosed:
    """Forwards reads to a file, and does not close it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Leave the file open."""


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
