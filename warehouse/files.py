"""Atomic writes and locks.

A file is written to a temporary file in the same folder, flushed to disk, then renamed. A writer locks its temporary
file; `sweep` deletes only those that it can lock. All locks use flock on an open file; the kernel releases
them when the process ends, for whatever reason. A network file system may refuse an exclusive lock on a descriptor that
cannot write (NFS emulates flock so), and answer from its cache whether a file exists: see `revalidate`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".writing-"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing and reading that appears as `path` only when the block ends without an exception."""
    make_folder(path.parent)
    try:
        temporary, file = _create_locked(path.parent)
    except OSError as error:
        error.filename = str(path)  # the caller does not know the temporary's name
        raise
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sweep(root: Path) -> list[Path]:
    """Delete the temporary files of dead writers under `root` and return them; leave those of running writers."""
    swept = []
    for temporary in sorted(_temporary(str(root))):
        with suppress(OSError), temporary.open("r+b") as file:  # already gone, or its writer is running
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink()
            swept.append(temporary)
    return swept


def _temporary(folder: str) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_TEMPORARY):
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _temporary(entry.path)


@contextmanager
def locked(path: Path, *, busy: Exception | None = None, best_effort: bool = False) -> Iterator[None]:
    """Hold the lock of a file during the block; create the file if necessary.

    Args:
        path: the lock file, which has no other purpose.
        busy: raised if another process holds the lock; by default, wait.
        best_effort: for a lock that only avoids duplicate work. On a file system without locks, run the block without
            it; delete the file at the end.

    Raises:
        OSError: the file cannot be created, or the file system has no locks.
    """
    make_folder(path.parent)
    while True:
        with path.open("ab") as file:
            if not _lock(file, busy=busy, best_effort=best_effort):
                continue
            try:
                yield
            finally:
                if best_effort:
                    path.unlink(missing_ok=True)
            return


def is_locked(path: Path) -> bool:
    """Return whether a file exists and is locked; True also when the file system cannot lock."""
    revalidate(path.parent)  # otherwise a cached answer could hide the lock of another host
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except PermissionError:  # it belongs to another user
        return _is_locked_for_readers(path)
    except OSError:
        return True
    return False


def _is_locked_for_readers(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def revalidate(folder: Path) -> None:
    """Drop what a network file system has cached of a folder; otherwise files made by other hosts may be missing.

    NFS asks its server again when a folder is opened. On a local disk this costs little.
    """
    with suppress(OSError):
        sync(folder)


def make_folder(path: Path) -> None:
    """Create a folder and its parents unless they exist, and flush the new names: files in it survive a power cut."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_locked(folder: Path) -> tuple[Path, BinaryIO]:
    while True:
        temporary = folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
        file = temporary.open("x+b")
        if _lock(file, best_effort=True):  # on a file system without locks, `sweep` cannot lock either
            return temporary, file
        file.close()


def _lock(file: BinaryIO, *, busy: Exception | None = None, best_effort: bool) -> bool:
    """Lock an open file; return False if it was deleted before the lock was held: by its last holder, or by `sweep`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except OSError as error:
        if busy and isinstance(error, BlockingIOError):
            raise busy from error
        if not best_effort:
            raise
    return os.fstat(file.fileno()).st_nlink > 0
