"""The folder of fetched files. It holds complete files only; partial ones are in its subfolder `.ingest`.

Each file has a record of its origin, so that an unchanged file is not fetched again. The record is written before the
file is renamed, and is valid only while it matches the size and time of the file. If a run is killed between the two
steps, the next one finds the complete partial file and finishes.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.ingest.outcome import Limits
from e2emern.tasks.parsers.source_reader import SourceReader, open_source
from e2emern.warehouse.files import atomic_write, is_locked, locked, sync

_HIDDEN = ".ingest"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")
# NLM's form, `MD5(name)= hex`, or that of md5sum, `hex  name`.
_MD5 = re.compile(
    r"MD5\s*\((?P<name>[^)]*)\)\s*=\s*(?P<hex>[0-9a-fA-F]{32})|(?P<hex2>[0-9a-fA-F]{32})\s+\*?(?P<name2>.+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Identifies a state of a file at its origin: by HTTP validators (RFC 9110, 8.8), or by size and time."""

    url: str
    etag: str | None = None
    modified: str | None = None
    bytes: int | None = None

    def same(self, other: Version) -> bool:
        """Return whether both are certainly the same state; without a validator they never are."""
        if self.url != other.url or (self.bytes is not None and other.bytes is not None and self.bytes != other.bytes):
            return False
        if self.etag and other.etag:
            return self.etag == other.etag
        return bool(self.modified) and self.modified == other.modified and self.bytes == other.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The origin of a fetched file, and its size, time and digest."""

    version: Version
    bytes: int
    mtime_ns: int
    md5: str


class DownloadFolder:
    """A folder of fetched files, opened by one process at a time."""

    def __init__(self, folder: Path, *, limits: Limits) -> None:
        self.folder = folder
        self._limits = limits
        self._hidden = folder / _HIDDEN

    @contextmanager
    def opened(self) -> Iterator[DownloadFolder]:
        """Create the folder and hold its lock.

        Raises InputError if the folder cannot be used, or another process fetches into it.
        """
        busy = InputError("another ingest fetches into it; wait until it is done", path=self.folder)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._lock, busy=busy))
            except OSError as error:
                raise InputError(f"cannot be used as a folder of dumps ({error.strerror})", path=self.folder) from error
            yield self

    def is_busy(self) -> bool:
        """Return whether a process fetches into the folder."""
        return is_locked(self._lock)

    def kept(self, name: str) -> Kept | None:
        """Return the record of a file that is unchanged since it was fetched, or None."""
        record = _read(self._record(name))
        try:
            kept = Kept(version=Version(**record.pop("version")), **record) if record else None
            found = (self.folder / name).stat()
        except (OSError, TypeError, KeyError, AttributeError):
            return None
        return kept if kept and (found.st_size, found.st_mtime_ns) == (kept.bytes, kept.mtime_ns) else None

    def md5(self, name: str) -> str | None:
        """Return the MD5 of a file, which is read if its record does not have it; None if there is no such file."""
        if kept := self.kept(name):
            return kept.md5
        path = self.folder / name
        return _md5(path) if path.is_file() else None

    def part(self, name: str) -> tuple[Version, int] | None:
        """Return the version of a partial file and its size in bytes, or None."""
        try:
            return Version(**_read(self._version(name)) or {}), self._part(name).stat().st_size
        except (OSError, TypeError):
            return None

    def begin(self, name: str, version: Version) -> BinaryIO:
        """Open an empty partial file."""
        self.discard(name)
        file = self._part(name).open("wb")
        _write(self._version(name), asdict(version))
        return file

    def resume(self, name: str) -> BinaryIO:
        """Open the partial file at its end."""
        return self._part(name).open("ab")

    def discard(self, name: str) -> None:
        """Delete the partial file."""
        self._version(name).unlink(missing_ok=True)
        self._part(name).unlink(missing_ok=True)

    def digest(self, name: str) -> str:
        """Return the MD5 of the partial file."""
        return _md5(self._part(name))

    def check_limits(self, size: int, more: int) -> str | None:
        """Return the limit that a file of `size` bytes exceeds, `more` of them still to be written, or None."""
        return self._limits.check(size, more, self._hidden)

    def check_end(self, name: str, *, delimited: bool) -> str | None:
        """Return why a partial file may be truncated, or None. This is the check for files without an MD5.

        A gzip file is read to its end. Any other is complete if its transfer was `delimited`: with a length, or in
        chunks. If not, XML must be one well-formed document; in other formats, truncation cannot be detected.
        """
        part = self._part(name)
        try:
            if name.endswith(".gz"):
                with open_source(part) as opened:
                    for _ in opened.chunks():
                        pass
            elif not delimited and name.endswith(".xml"):
                with open_source(part) as opened:
                    _check_xml(opened)
            elif not delimited:
                return (
                    "the server gives neither a length nor an MD5, so a truncated file could not be detected; refused"
                )
        except SourceError as error:
            return error.in_file
        except expat.ExpatError as error:
            return f"not well-formed XML ({error}), and the server gives neither a length nor an MD5"
        return None

    def finish(self, name: str, version: Version, md5: str) -> Kept:
        """Rename the complete partial file to its final name, replacing an earlier file."""
        part = self._part(name)
        sync(part)
        stat = part.stat()
        kept = Kept(version=version, bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, md5=md5)
        _write(self._record(name), asdict(kept))
        part.replace(self.folder / name)
        sync(self.folder)
        self._version(name).unlink(missing_ok=True)
        return kept

    def note_listed(self, origins: Mapping[str, str]) -> None:
        """Record the source of each file in the current listings. Call it only if every source could be listed."""
        now = time.time()
        listed = self._listed() | {name: (source, now) for name, source in origins.items()}
        there = {name: one for name, one in sorted(listed.items()) if is_safe(name) and (self.folder / name).is_file()}
        _write(self._listings, there)

    def unlisted(self, *, before: float) -> list[str]:
        """Return the files that their source no longer lists, and last listed before a time, in seconds.

        Files that no source ever listed are not included: a user has put them there.
        """
        listed = self._listed()
        newest: dict[str, float] = {}
        for source, when in listed.values():
            newest[source] = max(when, newest.get(source, when))
        old = sorted(name for name, (source, when) in listed.items() if when < min(before, newest[source]))
        return [name for name in old if is_safe(name) and (self.folder / name).is_file()]

    @property
    def _lock(self) -> Path:
        return self._hidden / "lock"

    @property
    def _listings(self) -> Path:
        return self._hidden / "listed.json"

    def _listed(self) -> dict[str, tuple[str, float]]:
        """Return the last source that listed each file, and when, in seconds; nothing if the record is damaged."""
        try:
            return {name: (str(source), float(when)) for name, (source, when) in (_read(self._listings) or {}).items()}
        except (ValueError, TypeError):
            return {}

    def _part(self, name: str) -> Path:
        return self._hidden / f"{name}.part"

    def _version(self, name: str) -> Path:
        return self._hidden / f"{name}.part.json"

    def _record(self, name: str) -> Path:
        return self._hidden / f"{name}.kept.json"


def is_safe(name: str) -> bool:
    """Return whether a name of a source is safe as a file name: ASCII letters, digits, `.`, `_`, `-`."""
    return bool(_SAFE.match(name))


def matches(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern such as `*.xml.gz`; checksum files never do."""
    return fnmatchcase(name, pattern) and not name.endswith(".md5")


def read_md5(text: str, *, name: str) -> str:
    """Return the MD5 of `name` from its companion file, in lower case. Raises ValueError if it is invalid."""
    found = _MD5.match(text.strip())
    if not found:
        raise ValueError(f"{name}.md5 holds {text[:60]!r}, expected 'MD5({name})= ' and 32 hex digits")
    given = Path((found["name"] or found["name2"]).strip()).name
    if given != name:
        raise ValueError(f"{name}.md5 is about {given[:60]!r}, expected {name}")
    return str(found["hex"] or found["hex2"]).lower()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_xml(source: SourceReader) -> None:
    """Read an XML document to its end. Raises ExpatError if it is not well-formed, for example cut."""
    parser = expat.ParserCreate()
    for chunk in source.chunks():
        parser.Parse(chunk, False)
    parser.Parse(b"", True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, record: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(record, indent=1).encode() + b"\n")
