"""Vectors that are made in one long run, kept as they come, so that a run that was killed can be resumed."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

_FLOAT = 4  # bytes


class Part:
    """A file of float32 vectors that only grows: a digest of what they are of, then the vectors in order."""

    def __init__(self, file: BinaryIO, *, digest: bytes, size: int) -> None:
        self._file, self._size, self._taking = file, size, True
        file.seek(0)
        if file.read(len(digest)) != digest:
            file.truncate(0)
            file.write(digest)

    def take(self, count: int) -> Tensor | None:
        """The next vectors, (count, size), of a run that was killed; None from the first on that it had not made."""
        if not self._taking:
            return None
        place, wanted = self._file.tell(), count * self._size * _FLOAT
        found = self._file.read(wanted)
        if len(found) == wanted:
            return torch.frombuffer(bytearray(found), dtype=torch.float32).view(count, self._size)
        self._taking = False
        self._file.truncate(place)
        return None

    def add(self, vectors: Tensor) -> None:
        """Adds the next vectors."""
        self._file.write(vectors.numpy().tobytes())


@contextmanager
def open_part(path: Path, *, of: Sequence[str], size: int) -> Iterator[Part]:
    """Open a part, empty if it was of something else; another process with the same part waits for this one.

    Args:
        of: all that the vectors depend on.
        size: of a vector.
    """
    digest = hashlib.sha256("\n".join(of).encode()).digest()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:  # what is written goes to the end
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Part(file, digest=digest, size=size)
