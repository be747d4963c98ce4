"""What every format shares: mentions grouped by span, identifiers with their namespace, numbers as text.

A composite mention ("breast and ovarian cancer") is several `Mention`s with one span, one for each concept;
the exchange formats hold it as one annotation whose identifiers are joined by `|`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from model.document import Mention

SEPARATOR = "|"
UNLINKED = "-"  # as PubTator Central writes a mention without a concept


@dataclass(frozen=True, slots=True)
class Span:
    """The mentions that share a span and a type, in the order in which they were given."""

    start: int
    end: int
    text: str
    entity_type: str
    mentions: tuple[Mention, ...]

    @property
    def identifier(self) -> str:
        """The concepts' identifiers joined by `|`, `-` for a concept that is none: `MESH:D001943|MESH:D010051`."""
        return SEPARATOR.join(identifier(mention.mesh_id) for mention in self.mentions)

    def joined(self, value: Callable[[Mention], str | float | None]) -> str | None:
        """Join one value of each mention by `|`, in the order of the identifiers; None when all are None."""
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
    """Put a concept's id into its namespace: `MESH:D003920`, `OMIM:114480`, or `-` for none."""
    if mesh_id is None:
        return UNLINKED
    if ":" in mesh_id:  # it names its namespace itself
        return mesh_id
    return f"OMIM:{mesh_id}" if mesh_id.isdigit() else f"MESH:{mesh_id}"


def _written(value: str | float | None) -> str:
    if value is None:
        return UNLINKED
    return value if isinstance(value, str) else str(np.float32(value))  # the shortest text that reads back the same
