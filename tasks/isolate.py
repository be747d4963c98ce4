"""Has a model read many texts, of which one that it cannot read must never stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def map_isolating_failures(
    items: Sequence[_Item], read: Callable[[Sequence[_Item]], Sequence[_Found]]
) -> list[_Found | str]:
    """What `read` makes of each item, all at once; in place of one that makes it raise, the reason in one line.

    Such an item is found by halving. Raises torch.AcceleratorError where the device is lost, as all others would fail.
    """
    if not items:
        return []
    import torch  # here, for those who want the reason alone

    try:
        return list(read(items))
    except torch.AcceleratorError:
        raise
    except Exception as error:  # whatever one of them makes the model raise
        if len(items) == 1:
            return [reason("model", error)]
        half = len(items) // 2
        return [*map_isolating_failures(items[:half], read), *map_isolating_failures(items[half:], read)]


def reason(stage: str, error: Exception) -> str:
    """One line for a row of `failures`."""
    return f"{stage}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
