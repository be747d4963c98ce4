"""Read the members of a zip or tar archive, each as a file of its own; member names are never used as paths.

The unpacked size and the number of members of an archive are limited. Zip: APPNOTE.TXT of PKWARE. Tar: POSIX.1-2001
and GNU, as the standard library reads it.
"""

from __future__ import annotations

import lzma
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Self, cast

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.source_reader import CHUNK, MAX_RATIO, RATIO_FREE, Budget, Member, open_file, open_source
from e2emern.warehouse.layout import CHECKSUMS

MAX_MEMBERS = 500_000

_IN_MEMORY = 16 * 1024 * 1024  # bytes of a member; a larger one goes to an unnamed temporary file
_LONGEST_LIST = 128 * 1024 * 1024  # bytes of the list of members of a zip, which is read at once
_LONGEST_HEADER = 1024 * 1024  # bytes of what extends a header of a tar, which is read at once
_EXTENDING = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_ENCRYPTED = 1  # in the flags of a member of a zip
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, OverflowError),
    RuntimeError,  # of zipfile: an unknown version or compression; of tarfile: headers that extend each other
)


class MemberError(Exception):
    """A member cannot be read; later ones may be readable."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


def members(
    path: Path, form: str, *, max_ratio: float = MAX_RATIO, ratio_free: int = RATIO_FREE
) -> Iterator[Member | MemberError]:
    """Yield the files of an archive (`zip` or `tar`) in order, except hidden ones and checksums, as in a folder.

    A member can be read until the next one is requested. A link, a device, and an encrypted or damaged member is a
    MemberError. Raises SourceError if the archive is damaged, has more than `MAX_MEMBERS`, or unpacks to more than
    `max_ratio` times its size once more than `ratio_free` bytes are unpacked.
    """
    budget = Budget(path.stat().st_size, max_ratio, ratio_free)
    found = _of_zip(path) if form == "zip" else _of_tar(path, max_ratio=max_ratio, ratio_free=ratio_free)
    try:
        for count, (name, content) in enumerate(found):
            if count == MAX_MEMBERS:
                raise SourceError(f"an archive of more than {MAX_MEMBERS:,} members; split it", path=path)
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if _is_passed_over(shown):
                continue
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
                try:
                    _copy(content, file, budget, path)
                except MemberError as error:
                    yield MemberError(shown, str(error))
                else:
                    yield Member(shown, cast(BinaryIO, file), budget)
    except _DAMAGE as error:
        if getattr(error, "errno", None) is not None:  # of the system, such as a full disk
            raise SourceError(f"cannot be read ({_reason(error)})", path=path) from error
        raise SourceError(f"a damaged {form} archive ({_reason(error)}); download it again", path=path) from error


class _Bounded:
    """Reads a file, and refuses to read more at once than any valid archive needs."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _LONGEST_LIST:
            raise zipfile.BadZipFile(f"a list of members of {size:,} bytes")
        return self._file.read(size)


class _Header(tarfile.TarInfo):
    """A header of a tar, without an extension so long that it would fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block. Raises tarfile.TarError."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENDING and header.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


_Content = IO[bytes] | MemberError


def _of_zip(path: Path) -> Iterator[tuple[str, _Content]]:
    with open_file(path) as file, zipfile.ZipFile(cast(IO[bytes], _Bounded(file))) as archive:
        for info in archive.infolist():
            if not info.filename:  # on which `is_dir` raises IndexError
                yield "unnamed", MemberError("unnamed", "a member without a name")
                continue
            if info.is_dir():
                continue
            if info.flag_bits & _ENCRYPTED:
                yield info.filename, MemberError(info.filename, "encrypted; decrypt it")
                continue
            try:
                with archive.open(info) as content:
                    yield info.filename, content
            except _DAMAGE as error:
                yield info.filename, MemberError(info.filename, _reason(error))


def _of_tar(path: Path, *, max_ratio: float, ratio_free: int) -> Iterator[tuple[str, _Content]]:
    with (
        open_source(path, containers=True, max_ratio=max_ratio, ratio_free=ratio_free) as source,
        tarfile.open(fileobj=cast(IO[bytes], source), mode="r|", tarinfo=_Header) as archive,
    ):
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            if info.isdir():
                continue
            content = None if info.issym() or info.islnk() or info.issparse() else archive.extractfile(info)
            yield (
                info.name,
                content or MemberError(info.name, "not a regular file but a link, a device or a sparse file"),
            )


def _copy(content: _Content, file: IO[bytes], budget: Budget, path: Path) -> None:
    """Unpack a member. Raises MemberError, and SourceError if the archive unpacks to too much."""
    if isinstance(content, MemberError):
        raise content
    while True:
        try:
            data = content.read(CHUNK)
        except tarfile.TarError:
            raise
        except _DAMAGE as error:
            raise MemberError("", f"damaged ({_reason(error)})") from error
        if not data:
            return
        if bomb := budget.spend(len(data)):
            raise SourceError(bomb, path=path)
        file.write(data)


def _is_passed_over(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in parts) or (
        PurePosixPath(name).suffix in CHECKSUMS
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
