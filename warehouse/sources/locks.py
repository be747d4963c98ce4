"""Lock sources that are being processed: a worker locks a claim file in the folder of the mentions.

Each share of the parts of a large source has its own claim. The lock ends with the worker, so a source that is
neither done nor claimed is pending. Claims only avoid duplicate work; the tables are correct without them, because two
workers that annotate one source write the same rows. On a file system without locks, every source counts as claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from e2emern.warehouse.files import is_locked, locked
from e2emern.warehouse.layout import Home, SourceKey, Versions


@contextmanager
def claimed(home: Home, keys: Iterable[SourceKey], versions: Versions, *, share: int = 0) -> Iterator[None]:
    """Hold the claims of sources, or of a share of one, during the block; wait while others hold one of them."""
    with ExitStack() as stack:
        for key in sorted(set(keys)):  # in one fixed order, which prevents deadlock
            stack.enter_context(locked(home.claim(key, versions, _share(share)), best_effort=True))
        yield


def is_claimed(home: Home, key: SourceKey, versions: Versions, *, share: int = 0) -> bool:
    """Return whether a worker is processing a source, or a share of it."""
    return is_locked(home.claim(key, versions, _share(share)))


def _share(number: int) -> str:
    return f"share-{number}" if number else ""
