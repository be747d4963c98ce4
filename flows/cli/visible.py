"""Make control characters of foreign text visible: they could control the terminal, or reorder what it shows."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return a text with U+FFFD for each control character (C0, C1, bidirectional) except newline and tab."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def show_text(text: str, *, end: str = "\n") -> None:
    """Print a text with its control characters made visible."""
    print(visible(text), end=end)
