"""Cache the digest of every input file, so that a run reads only the files that are new or changed.

A digest is valid while the file has the size and the modification time, to the nanosecond, that it had when it was
read. The digest of a file modified less than two seconds ago is not cached: if the clock is coarse, the file could
change again and look the same. A missing digest is computed, and a damaged cache is rebuilt.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.sealed import seal, unseal

_YOUNG_NS = 2_000_000_000


class KeptDigest(NamedTuple):  # faster to make than a dataclass, and a night makes one for each dump file
    """The digest (`digest_file`) of a file with this size and this modification time in nanoseconds."""

    bytes: int
    mtime_ns: int
    digest: str

    def is_of(self, path: Path) -> bool:
        """Return whether the file has the size and modification time that it had when it was read."""
        with suppress(OSError):
            return self.matches(path.stat())
        return False

    def matches(self, found: os.stat_result) -> bool:
        """Return whether this is the size and modification time of the file when it was read."""
        return (found.st_size, found.st_mtime_ns) == (self.bytes, self.mtime_ns)


@contextmanager
def digesting(home: Home | None) -> Iterator[Callable[[Path], KeptDigest]]:
    """Yield a function that returns the digest of a file, and reads the file only if its digest is not cached.

    New digests are saved at the end if there is a home and it is writable. The function raises OSError for a file that
    cannot be read.
    """
    kept = kept_digests(home) if home else {}
    new: dict[str, KeptDigest] = {}
    real_folder = lru_cache(maxsize=1000)(os.path.realpath)  # resolving every file would take longer than all the rest

    def digest(path: Path) -> KeptDigest:
        file = str(path)
        before = os.lstat(file)
        if stat.S_ISLNK(before.st_mode):
            place, before = os.path.realpath(path), path.stat()
        else:
            place = os.path.join(real_folder(file[: -len(path.name)]), path.name)  # noqa: PTH118
        if (known := kept.get(place)) and known.matches(before):
            return known
        now = time.time_ns()
        found = KeptDigest(bytes=before.st_size, mtime_ns=before.st_mtime_ns, digest=digest_file(path))
        if now - before.st_mtime_ns > _YOUNG_NS and found.is_of(path):
            new[place] = found
        return found

    try:
        yield digest
    finally:
        if home and new:
            with suppress(OSError):
                there = os.path.exists  # much faster on strings than on paths
                _write(home, {path: one for path, one in kept_digests(home).items() if there(path)} | new)


def kept_digests(home: Home) -> dict[str, KeptDigest]:
    """Return the cached digests by absolute path."""
    try:
        record = unseal(home.digests.read_bytes())["digests"]
        return {path: KeptDigest(*of) for path, of in record.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def forget_digest(home: Home, path: Path) -> None:
    """Drop the digest of a file from the cache, so that the next run reads the file."""
    kept = kept_digests(home)
    if kept.pop(str(path.resolve()), None):
        _write(home, kept)


def _write(home: Home, kept: Mapping[str, KeptDigest]) -> None:
    with atomic_write(home.digests) as file:
        file.write(seal({"digests": dict(sorted(kept.items()))}))
