"""Run a model over many texts, so that an unreadable text does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def map_isolating_failures(
    items: Sequence[_Item], read: Callable[[Sequence[_Item]], Sequence[_Found]]
) -> list[_Found | str]:
    """Call `read` with all items and return its results; the result of an item that makes it raise is the reason.

    Bisection finds such items. Raises torch.AcceleratorError if the device is lost, since every item would fail.
    """
    if not items:
        return []
    import torch  # a late import: callers of `reason` do not need it

    try:
        return list(read(items))
    except torch.AcceleratorError:
        raise
    except Exception as error:  # a text may make the model raise anything
        if len(items) == 1:
            return [reason("model", error)]
        half = len(items) // 2
        return [*map_isolating_failures(items[:half], read), *map_isolating_failures(items[half:], read)]


def reason(stage: str, error: Exception) -> str:
    """Return the reason of a failure in one line, for a row of `failures`."""
    return f"{stage}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
