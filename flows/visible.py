"""Make control characters of foreign text visible: they could control a terminal, or reorder what a page shows."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return a text with U+FFFD for each control character (C0, C1, bidirectional) except newline and tab."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def visible_json(text: str) -> str:
    """Return a JSON text of the same data with an escape sequence for each control character (RFC 8259, section 7)."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
