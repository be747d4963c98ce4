"""Lock sources that are being processed: a worker locks a claim file in the folder of the mentions.

The lock ends with the worker, so a source that is neither done nor claimed is pending. Claims only avoid duplicate
work; the tables are correct without them, because two workers that annotate one source write the same rows. On a file
system without locks, every source counts as claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from warehouse.files import is_locked, locked
from warehouse.layout import Home, SourceKey


@contextmanager
def claimed(home: Home, keys: Iterable[SourceKey], *, model_version: str, mesh_version: str) -> Iterator[None]:
    """Hold the claims of sources during the block; wait while others hold one of them."""
    with ExitStack() as stack:
        for key in sorted(set(keys)):  # in one fixed order, which prevents deadlock
            claim = home.claim(key, model_version=model_version, mesh_version=mesh_version)
            stack.enter_context(locked(claim, best_effort=True))
        yield


def is_claimed(home: Home, key: SourceKey, *, model_version: str, mesh_version: str) -> bool:
    """Return whether a worker is processing a source."""
    return is_locked(home.claim(key, model_version=model_version, mesh_version=mesh_version))
