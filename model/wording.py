"""How counts are said, as `warehouse.wording` does, which this package must not import."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number of things in words: `1 epoch`, `2,000 epochs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
