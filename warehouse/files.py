"""Write files atomically: to a temporary file in the same folder, flushed to disk, then renamed.

A writer holds an advisory lock (flock) on its temporary file. The kernel releases the lock when the writer dies, for
whatever reason. `sweep` deletes only the temporary files that it can lock.
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
    """Open a file for writing that appears as `path` only when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
    for temporary in sorted(root.rglob(f"{_TEMPORARY}*")):
        with suppress(OSError), temporary.open("rb") as file:  # already gone, or its writer is running
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink()
            swept.append(temporary)
    return swept


def is_locked(path: Path) -> bool:
    """Return whether a file exists and is locked; True also when the file system cannot lock."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


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
        file = temporary.open("xb")
        with suppress(OSError):  # a file system without locks: `sweep` cannot lock either, and spares the file
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # swept between creation and lock: retry
