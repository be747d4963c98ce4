"""Who is at work on a source: a file beside its mentions that the worker holds a lock on (flock).

The kernel releases the lock when the worker dies however it dies, so a source that is neither done nor claimed is
waiting. Claims spare work and are no part of what makes the tables right: two that annotate one source write the same
rows. Where the file system has no locks, every source counts as claimed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import fstat
from pathlib import Path

from warehouse.files import is_locked
from warehouse.layout import Home, SourceKey


@contextmanager
def claimed(home: Home, keys: Iterable[SourceKey], *, model_version: str, mesh_version: str) -> Iterator[None]:
    """Holds the claims of sources for the time of the block; waits for whoever holds one of them."""
    with ExitStack() as stack:
        for key in sorted(set(keys)):  # all in one order, so that no two wait for each other
            stack.enter_context(_claim(home.claim(key, model_version=model_version, mesh_version=mesh_version)))
        yield


def is_claimed(home: Home, key: SourceKey, *, model_version: str, mesh_version: str) -> bool:
    """Tells whether somebody is at work on a source."""
    return is_locked(home.claim(key, model_version=model_version, mesh_version=mesh_version))


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not fstat(file.fileno()).st_nlink:  # its holder has ended, and taken the name away: begin again
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
