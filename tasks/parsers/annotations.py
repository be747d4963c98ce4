"""Mentions that a source itself carries, checked against the text where they enter."""

from __future__ import annotations

import re

from model.document import Annotation

_IDENTIFIER = re.compile(r"(?:[A-Za-z]\w*:\s*)?[A-Za-z_]*\d+(?:\(Tax:\d+\))?|-1")
_SPACE = re.compile(r"(?<=:)\s+")
_SEPARATOR = re.compile(r"\s*[|+;,]\s*")
_SHOWN = 80  # characters of a text quoted in a reason


class MisfitError(ValueError):
    """An annotation that does not stand in its text where it says; the message starts with `annotation: `."""


def fitted(start: int, end: int, mention: str, entity_type: str, identifier: str, *, text: str) -> Annotation:
    """Return the annotation, after checking that `text[start:end] == mention`.

    Offsets are code points, half-open. Raises MisfitError where the text there is another.
    """
    if not 0 <= start < end <= len(text):
        raise MisfitError(f"annotation: {shown(mention)} at {start}-{end} lies outside the text of 0-{len(text)}")
    if text[start:end] != mention:
        raise MisfitError(f"annotation: found {shown(text[start:end])} at {start}-{end}, expected {shown(mention)}")
    return Annotation(start, end, mention, entity_type, split_identifiers(identifier))


def split_identifiers(written: str) -> tuple[str, ...]:
    """Split composite identifiers such as `D001943|D010051` or `OMIM:1+OMIM:2`; none where `written` is empty or `-`.

    Each is without white space: `MESH: D001943` is `MESH:D001943`. Anything of which a part is no identifier, such as
    the variant `p|SUB|S|369|R`, stays whole.
    """
    written = written.strip()
    if written in ("", "-"):
        return ()
    parts = [part for part in _SEPARATOR.split(written) if part]
    if not parts or not all(map(_IDENTIFIER.fullmatch, parts)):
        return (written,)
    return tuple(_SPACE.sub("", part) for part in parts)


def shown(text: str) -> str:
    """Quote a text for a one-line message, cut to a readable length."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
