"""Runs of an array that belong together, such as the candidates of each group: their best, their sum.

`first` holds where each run begins, and the length of the array at its end: run r is first[r]..first[r + 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def starts_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return `first` for runs of these lengths: int64 (runs + 1,)."""
    first = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=first[1:])
    return first


def owners_of(first: np.ndarray) -> np.ndarray:
    """Return the run of each element: int64 (elements,)."""
    return np.repeat(np.arange(len(first) - 1), np.diff(first))


def ranges_of(begin: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return begin..begin + length of each run, one after another: int64 (elements,)."""
    shift = np.repeat(begin - (np.cumsum(lengths) - lengths), lengths)
    positions: np.ndarray = np.arange(len(shift)) + shift
    return positions


def reduce_runs(reduce: np.ufunc, values: np.ndarray, first: np.ndarray, *, empty: float) -> np.ndarray:
    """Return the reduction of each run, (runs,); `empty` for one without elements."""
    live = np.diff(first) > 0
    reduced = np.full(len(live), empty, np.result_type(values, np.float32))
    if live.any():
        reduced[live] = reduce.reduceat(values, first[:-1][live])
    return reduced


def best_of_runs(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the position in the array of the first maximum of each run, int64 (runs,); -1 for one without elements."""
    best = np.repeat(reduce_runs(np.maximum, values, first, empty=-np.inf), np.diff(first))
    positions = np.where(values >= best, np.arange(len(values)), len(values))
    found = reduce_runs(np.minimum, positions, first, empty=-1)
    return found.astype(np.int64)
