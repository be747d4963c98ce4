"""Shared by the exporters: group mentions by span, add namespaces to identifiers, write numbers as text.

A composite mention ("breast and ovarian cancer") is several `Mention`s with one span, one for each concept.
The exchange formats represent it as one annotation whose identifiers are joined by `|`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from e2emern.model.document import Mention

SEPARATOR = "|"
UNLINKED = "-"  # PubTator Central's mark of a mention without a concept


@dataclass(frozen=True, slots=True)
class Span:
    """The mentions with the same span and type, in the given order."""

    start: int
    end: int
    text: str
    entity_type: str
    mentions: tuple[Mention, ...]

    @property
    def identifier(self) -> str:
        """The identifiers joined by `|`, with `-` for a missing concept: `MESH:D001943|MESH:D010051`."""
        return SEPARATOR.join(identifier(mention.mesh_id) for mention in self.mentions)

    def joined(self, value: Callable[[Mention], str | float | None]) -> str | None:
        """Join one value of each mention by `|`, in the order of the identifiers; None if all are None."""
        values = [value(mention) for mention in self.mentions]
        if all(each is None for each in values):
            return None
        return SEPARATOR.join(_written(each) for each in values)


def spans(mentions: Iterable[Mention]) -> Iterator[Span]:
    """Group mentions into spans, ascending by start, end and type."""

    def place(mention: Mention) -> tuple[int, int, str]:
        return mention.start, mention.end, mention.entity_type

    for (start, end, entity_type), group in groupby(sorted(mentions, key=place), key=place):
        together = tuple(group)
        yield Span(start, end, together[0].text, entity_type, together)


def identifier(mesh_id: str | None) -> str:
    """Return a concept's id with its namespace: `MESH:D003920`, `OMIM:114480`, or `-` for None."""
    if mesh_id is None:
        return UNLINKED
    if ":" in mesh_id:  # has a namespace already
        return mesh_id
    return f"OMIM:{mesh_id}" if mesh_id.isdigit() else f"MESH:{mesh_id}"


def _written(value: str | float | None) -> str:
    if value is None:
        return UNLINKED
    return value if isinstance(value, str) else str(np.float32(value))  # the shortest text that round-trips
