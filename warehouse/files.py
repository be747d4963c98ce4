"""Files that are either whole or absent: written beside their final name, flushed to disk, renamed.

A writer holds an advisory lock (flock) on its temporary file, which the kernel releases when the writer dies
however it dies; `sweep` deletes exactly the temporaries whose lock it can take.
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
    """Opens a file for writing that gets its name `path` only when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary, file = _create_locked(path.parent)
    except OSError as error:
        error.filename = str(path)  # not the temporary's, which nobody has asked for
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
    """Deletes the temporaries of dead writers anywhere under `root` and returns them; spares living writers."""
    swept = []
    for temporary in sorted(root.rglob(f"{_TEMPORARY}*")):
        with suppress(OSError), temporary.open("rb") as file:  # gone meanwhile, or its writer lives
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink()
            swept.append(temporary)
    return swept


def is_locked(path: Path) -> bool:
    """Tells whether a file is there and somebody holds a lock on it, or none can be had."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def sync(path: Path) -> None:
    """Makes the content of a file, or the names in a folder, survive a power cut."""
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
        file.close()  # swept between creation and lock: begin again
