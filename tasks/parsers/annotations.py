"""Read the annotations of a source, and check them against its text."""

from __future__ import annotations

import re

from e2emern.model.document import Annotation, InvalidAnnotation
from e2emern.model.notation import normalize_id

_IDENTIFIER = re.compile(r"(?:[A-Za-z]\w*:\s*)?[A-Za-z_]*\d+(?:\(Tax:\d+\))?\*?|https?://\S+")
_SPACE = re.compile(r"(?<=:)\s+")
_SEPARATOR = re.compile(r"[|+;,]")  # white space is stripped after, since `\s*` before it takes quadratic time
_SHOWN = 80  # characters of a text quoted in a reason
_OFFSET = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")  # 11.0, as tables of numbers are written
_SEVERAL = re.compile(r"[0-9]+(?:[;,|:][0-9]+)+")

OFFSETS_ASSIGNED = "offsets assigned"  # the kind of a passage that has no usable offset of its own


class InvalidAnnotationError(ValueError):
    """An annotation is invalid. `kind` names the kind of error without values; the message has the values found."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind

    def at(self, position: str) -> InvalidAnnotation:
        """Return the record of this error at a position of the source."""
        return InvalidAnnotation(position, self.kind, str(self))


def fitted(
    start: int, end: int, mention: str, entity_type: str, identifier: str, *, text: str, line: int | None = None
) -> Annotation:
    """Return the annotation, after checking that `text[start:end] == mention`.

    Offsets are code points, half-open. Raises InvalidAnnotationError if the text differs.
    """
    if start >= end:
        raise InvalidAnnotationError("end not after start", f"{shown(mention)} at {start}-{end} is empty or reversed")
    if not 0 <= start < end <= len(text):
        reason = f"{shown(mention)} at {start}-{end} lies outside the text of 0-{len(text)}"
        raise InvalidAnnotationError("outside the text", reason)
    if text[start:end] != mention:
        reason = f"found {shown(text[start:end])} at {start}-{end}, expected {shown(mention)}"
        raise InvalidAnnotationError("other words at its offsets", reason)
    return Annotation(start, end, mention, entity_type, split_identifiers(identifier), line)


def read_offset(written: object) -> int:
    """Read an offset or a length: digits, or a number without a fraction such as 11.0.

    Raises InvalidAnnotationError for anything else, such as the several offsets of a discontinuous mention.
    """
    given = "" if isinstance(written, bool) or written is None else str(written).strip()
    if match := _OFFSET.fullmatch(given):
        return int(match[1])
    if _SEVERAL.fullmatch(given):
        raise InvalidAnnotationError("discontinuous offsets", f"found offsets {shown(given)}, expected one number")
    raise InvalidAnnotationError("offsets are not numbers", f"found offset {shown(str(written))}, expected a number")


def split_identifiers(written: str) -> tuple[str, ...]:
    """Split composite identifiers such as `D001943|D010051` or `OMIM:1+OMIM:2`; none if `written` is empty or `-`.

    White space is removed: `MESH: D001943` becomes `MESH:D001943`. A part may mean a missing id, as in
    `D001943|-1`. If any part is not an identifier, as in the variant `p|SUB|S|369|R`, the text is not split.
    """
    written = written.strip()
    if written in ("", "-"):
        return ()
    parts = [stripped for part in _SEPARATOR.split(written) if (stripped := part.strip())]
    if not parts or not all(_IDENTIFIER.fullmatch(part) or normalize_id(part) is None for part in parts):
        return (written,)
    return tuple(_SPACE.sub("", part) for part in parts)


def shown(text: str) -> str:
    """Quote a text for a one-line message, cut to a readable length."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
