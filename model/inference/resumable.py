"""Vectors of one long run, written as they are computed, so that a killed run can be resumed."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

_FLOAT = 4  # bytes


class Part:
    """An append-only file of float32 vectors: a digest of what they depend on, then the vectors in order."""

    def __init__(self, file: BinaryIO, *, digest: bytes, size: int) -> None:
        self._file, self._size, self._reading = file, size, True
        file.seek(0)
        if file.read(len(digest)) != digest:
            file.truncate(0)
            file.write(digest)

    def take(self, count: int) -> Tensor | None:
        """Return the next vectors, (count, size), of the killed run; None from the first missing ones on."""
        if not self._reading:
            return None
        place, wanted = self._file.seek(0, SEEK_CUR), count * self._size * _FLOAT
        found = self._file.read(wanted)
        if len(found) == wanted:
            return torch.frombuffer(bytearray(found), dtype=torch.float32).view(count, self._size)
        self._reading = False
        self._file.truncate(place)
        return None

    def add(self, vectors: Tensor) -> None:
        """Add the next vectors."""
        self._file.write(vectors.numpy().tobytes())


@contextmanager
def open_part(path: Path, *, of: Sequence[str], size: int) -> Iterator[Part]:
    """Open a part and lock it against other processes; empty it if it was made from something else.

    Args:
        of: all that the vectors depend on.
        size: of a vector.
    """
    digest = hashlib.sha256("\n".join(of).encode()).digest()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:  # appends
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Part(file, digest=digest, size=size)
