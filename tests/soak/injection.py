"""Faults of the file system in this process: the n-th operation on the files of a folder fails.

The calls of Python's `os` and `io`, of pyarrow and of DuckDB are replaced by ones that count, and that fail once at the
chosen operation. What C++ does within one call of DuckDB is one operation, except for a short write: then the kernel
itself cuts the writes of DuckDB (RLIMIT_FSIZE).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import duckdb
import pyarrow.parquet as pq

from tests.soak.disk_model import DiskModel

Kind = Literal["I/O error", "stale handle", "disk full", "short write", "power loss", "power loss, reordered"]
KINDS: Final[tuple[Kind, ...]] = (
    "I/O error",
    "stale handle",
    "disk full",
    "short write",
    "power loss",
    "power loss, reordered",
)
_ERRORS = {
    "I/O error": errno.EIO,
    "stale handle": errno.ESTALE,
    "disk full": errno.ENOSPC,
    "short write": errno.ENOSPC,
}
_SINGLE = ("unlink", "remove", "rmdir", "mkdir", "chmod", "utime", "truncate")  # calls that change one path
_PAIRS = ("replace", "rename", "link", "symlink")  # calls that take two; the new one comes last
_READING = ("stat", "lstat", "readlink", "listdir", "scandir")
_GROWING = ("create", "write", "mkdir", "symlink", "link", "query that writes")  # operations that need room
_WRITING_SQL = ("CHECKPOINT", "COMMIT", "CREATE", "INSERT", "DETACH")


@dataclass(slots=True)
class Injector:
    """Counts the operations on files under `root`, and has the one with number `at`, from 0, fail as `kind` says.

    The disk stays full from its operation on; any other error occurs once. `disk` learns what is flushed, and `each` is
    called before every operation with its number: what the disk holds then survives a power loss. Never removed: for a
    process of its own.
    """

    root: Path
    kind: Kind | None = None
    at: int = -1
    disk: DiskModel | None = None
    each: Callable[[int], None] | None = None
    done: list[tuple[str, str]] = field(default_factory=list)  # operations with their paths
    _full: bool = False
    _busy: bool = False

    def install(self) -> None:
        """Replace the calls of this process."""
        for name in _SINGLE:
            self._wrap_os(name, name, changes=True)
        for name in _PAIRS:
            self._wrap_pair(name)
        for name in _READING:
            self._wrap_os(name, name, changes=False)
        self._wrap_fsync()
        self._wrap_open()
        self._wrap_parquet()
        self._wrap_duckdb()

    def pause(self) -> None:
        """Stop counting."""
        self._busy = True

    def count(self, what: str, path: object, *, changes: bool) -> bool:
        """Count an operation; raise OSError if it fails. Return whether it is to be a short write.

        Reads of a file in a row are one operation.
        """
        if self._busy or (what == "read" and self.done and self.done[-1] == (what, str(path))):
            return False
        number = len(self.done)
        self.done.append((what, str(path)))
        if self.each:
            self._busy = True
            self.each(number)
            self._busy = False
        if self._full and what in _GROWING:
            raise _error(errno.ENOSPC, path)
        if number != self.at or self.kind is None:
            return False
        if self.kind == "short write" and what in ("write", "query that writes"):
            self._full = True
            return True
        if self.kind in ("disk full", "short write"):
            self._full = True
            if what not in _GROWING and not (changes and what == "fsync"):
                return False
        raise _error(_ERRORS[self.kind], path)

    def _under(self, path: Any, folder: int | None = None) -> str | None:
        """Return the path if it is under the root; `folder` is a descriptor, to which it may be relative."""
        if self._busy:
            return None
        if isinstance(path, int):
            found = _real_readlink(f"/proc/self/fd/{path}")
        else:
            found = os.fsdecode(path)
            if folder is not None and not found.startswith("/"):
                found = f"{_real_readlink(f'/proc/self/fd/{folder}')}/{found}"
        root = str(self.root)
        return found if found == root or found.startswith(f"{root}/") else None

    def _wrap_os(self, name: str, what: str, *, changes: bool) -> None:
        real = getattr(os, name)

        def call(path: Any = ".", *given: Any, **named: Any) -> Any:
            if found := self._under(path, named.get("dir_fd")):
                self.count(what, found, changes=changes)
            return real(path, *given, **named)

        setattr(os, name, call)

    def _wrap_pair(self, name: str) -> None:
        real = getattr(os, name)

        def call(source: Any, target: Any, *given: Any, **named: Any) -> Any:
            if found := self._under(target, named.get("dir_fd") or named.get("dst_dir_fd")):
                self.count(name, found, changes=True)
            return real(source, target, *given, **named)

        setattr(os, name, call)

    def _wrap_fsync(self) -> None:
        real = os.fsync

        def fsync(file: Any) -> None:
            descriptor = file if isinstance(file, int) else file.fileno()
            found = self._under(descriptor)
            if found:
                self.count("fsync", found, changes=True)
            real(descriptor)
            if found and self.disk:
                self._busy = True
                self.disk.flush(descriptor)
                self._busy = False

        os.fsync = fsync

    def _wrap_open(self) -> None:
        real_open, real_os_open = io.open, os.open

        def os_open(path: Any, flags: int, *given: Any, **named: Any) -> int:
            if found := self._under(path, named.get("dir_fd")):
                self.count("create" if flags & os.O_CREAT else "open", found, changes=bool(flags & os.O_CREAT))
            return real_os_open(path, flags, *given, **named)

        def opened(file: Any, mode: str = "r", buffering: int = -1, *given: Any, **named: Any) -> Any:
            found = None if isinstance(file, int) else self._under(file)
            if found is None:
                return real_open(file, mode, buffering, *given, **named)
            writing = any(letter in mode for letter in "wax")
            self.count("create" if writing else "open", found, changes=writing)
            raw = _File(self, found, mode.replace("t", "").replace("b", ""), opener=named.pop("opener", None))
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter if writing else io.BufferedReader
            buffered = kind(raw)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, *given, **named)

        os.open = os_open
        io.open = builtins.open = opened

    def _wrap_parquet(self) -> None:
        for name in ("ParquetFile", "read_metadata", "read_schema", "read_table"):
            setattr(pq, name, self._counting(getattr(pq, name)))

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *given: Any, **named: Any) -> Any:
            if isinstance(path, str | Path) and (found := self._under(path)):
                self.count("read", found, changes=False)
            return real(path, *given, **named)

        return call

    def _wrap_duckdb(self) -> None:
        real = duckdb.connect

        def connect(database: str = ":memory:", *given: Any, **named: Any) -> Any:
            found = self._under(database) if database != ":memory:" else None
            if found:
                with _as_duckdb():
                    self.count("create", found, changes=True)
            return _Connection(self, real(database, *given, **named), found)

        duckdb.connect = connect


class _File(io.FileIO):
    """An open file whose reads and writes are counted."""

    def __init__(self, injector: Injector, path: str, mode: str, *, opener: Any = None) -> None:
        super().__init__(path, mode, opener=opener)
        self._injector, self._path = injector, path

    def readinto(self, buffer: Any) -> int | None:
        self._injector.count("read", self._path, changes=False)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._injector.count("read", self._path, changes=False)
        return super().readall()

    def write(self, data: Any) -> int:
        if self._injector.count("write", self._path, changes=True):
            data = memoryview(data)[: len(data) // 2]
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self._injector.count("write", self._path, changes=True)
        return super().truncate(size)


class _Connection:
    """A connection to DuckDB whose queries are counted; `path` is that of its file."""

    def __init__(self, injector: Injector, real: Any, path: str | None) -> None:
        self._injector, self._real, self._path = injector, real, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> _Connection:
        self._real.__enter__()
        return self

    def __exit__(self, *given: object) -> object:
        return self._real.__exit__(*given)

    def execute(self, query: str, *given: Any, **named: Any) -> Any:
        return self._counted(query, lambda: self._real.execute(query, *given, **named))

    def sql(self, query: str, *given: Any, **named: Any) -> Any:
        return self._counted(query, lambda: self._real.sql(query, *given, **named))

    def commit(self) -> Any:
        return self._counted("COMMIT", self._real.commit)

    def _counted(self, query: str, do: Callable[[], Any]) -> Any:
        words = query.split(maxsplit=1)[0].upper()
        reads = words in ("ATTACH", "SELECT", "FROM", "WITH", "CREATE", "INSERT")
        writes = self._path is not None and words in _WRITING_SQL
        if not (reads or writes) or "duckdb_" in query:
            return do()
        with _as_duckdb():
            what = "query that writes" if writes else "query"
            short = self._injector.count(what, self._path or query.split("\n")[0][:80], changes=writes)
        return _cut(do, self._path) if short and self._path else do()


class _as_duckdb:  # noqa: N801 (used as a function)
    """Make an OSError look as DuckDB reports it."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise duckdb.IOException(f'IO Error: Could not access file "{error.filename}": {error.strerror}')


def _cut(do: Callable[[], Any], path: str) -> Any:
    """Call `do` while the kernel refuses to make any file longer than this one is, plus some pages."""
    size = Path(path).stat().st_size if Path(path).exists() else 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, before[1]))
    try:
        return do()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _error(number: int, path: object) -> OSError:
    return OSError(number, os.strerror(number), str(path))


_real_readlink = os.readlink
