"""Lock sources that are being processed: a worker holds a lock (flock) on a claim file in the folder of the mentions.

The kernel releases the lock when the worker dies, for whatever reason, so a source that is neither done nor claimed is
pending. Claims only avoid duplicate work; the tables are correct without them, because two workers that annotate one
source write the same rows. On a file system without locks, every source counts as claimed.
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
    """Hold the claims of sources during the block; wait while others hold one of them."""
    with ExitStack() as stack:
        for key in sorted(set(keys)):  # in one fixed order, which prevents deadlock
            stack.enter_context(_claim(home.claim(key, model_version=model_version, mesh_version=mesh_version)))
        yield


def is_claimed(home: Home, key: SourceKey, *, model_version: str, mesh_version: str) -> bool:
    """Return whether a worker is processing a source."""
    return is_locked(home.claim(key, model_version=model_version, mesh_version=mesh_version))


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not fstat(file.fileno()).st_nlink:  # its holder ended and deleted the file: retry
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
