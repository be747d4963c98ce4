"""Concepts by name: arrays for hundreds of thousands of names take less time and memory than an object for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class NameIndex:
    """The concepts that have a name.

    Attributes:
        names: each once, in the order of its first concept.
        first: int64 (names + 1,), the position at which the owners of each name begin.
        owners: int32 (owners,), the concepts of one name after another, ascending.
        preferred: bool (owners,), whether the name is the preferred one of the concept.
    """

    def __init__(self, names: Sequence[str], owners: np.ndarray, preferred: np.ndarray) -> None:
        """Index names, (N,), of concepts in ascending order; a concept may have a name several times."""
        self._places: dict[str, int] = {}
        places = np.fromiter((self._places.setdefault(name, len(self._places)) for name in names), np.int64, len(names))
        self.names = list(self._places)
        order = np.argsort(places, kind="stable")
        places, owners = places[order], owners[order]
        begins = np.ones(len(places), bool)
        begins[1:] = (places[1:] != places[:-1]) | (owners[1:] != owners[:-1])
        begin = np.flatnonzero(begins)
        self.owners = owners[begin]
        self.preferred = np.logical_or.reduceat(preferred[order], begin) if len(begin) else preferred[:0]
        self.first = np.searchsorted(places[begin], np.arange(len(self.names) + 1))

    def of(self, name: str) -> dict[int, bool]:
        """Return the concepts with a name, and whether it is their preferred one; empty if there are none."""
        if (place := self._places.get(name)) is None:
            return {}
        mine = slice(self.first[place], self.first[place + 1])
        return dict(zip(self.owners[mine].tolist(), self.preferred[mine].tolist(), strict=True))
