"""A bounded cache: most mentions of a chunk of documents have words that earlier ones had."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """A cache of the `most` most recently used keys; threads may share it."""

    def __init__(self, most: int) -> None:
        self._asked = self._found = 0
        self._most = most
        self._kept: dict[Key, Value] = {}  # the least recently asked first
        self._lock = Lock()

    def of(self, keys: Sequence[Key], make: Callable[[list[Key]], Iterable[Value]]) -> list[Value]:
        """Return the value of each key; `make` computes the values of missing keys, each given once."""
        known: dict[Key, Value] = {}
        missing: dict[Key, None] = {}
        with self._lock:
            for key in keys:
                if key in known or key in missing:
                    continue
                if key in self._kept:
                    known[key] = self._kept[key] = self._kept.pop(key)
                else:
                    missing[key] = None
            self._asked += len(keys)
            self._found += len(keys) - len(missing)
        if missing:
            made = dict(zip(missing, make(list(missing)), strict=True))
            known |= made
            with self._lock:
                self._kept |= made
                while len(self._kept) > self._most:
                    del self._kept[next(iter(self._kept))]
        return [known[key] for key in keys]

    def take_counts(self) -> tuple[int, int]:
        """Return the number of requested values since the last call, and how many of them were in the cache."""
        with self._lock:
            counts = self._asked, self._found
            self._asked = self._found = 0
        return counts
