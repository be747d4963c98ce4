"""Cut a text into marked and unmarked pieces, and take excerpts of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_AROUND = 90  # characters of an excerpt before and after a mention


@dataclass(frozen=True, slots=True)
class Span:
    """The mentions of the same words and type: rows of `mentions`, the best link first."""

    number: int
    start: int
    end: int
    text: str
    entity_type: str
    mentions: tuple[Mapping[str, Any], ...]

    @property
    def linked(self) -> bool:
        """Whether the words are linked to a concept."""
        return any(mention["mesh_id"] for mention in self.mentions)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text, with the innermost span that covers it, and whether others cover it too."""

    text: str
    span: Span | None = None
    nested: bool = False


def spans_of(rows: Sequence[Mapping[str, Any]]) -> list[Span]:
    """Group rows of mentions, sorted by start, into spans."""
    grouped: dict[tuple[int, int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["start"], row["end"], row["entity_type"]), []).append(row)
    return [
        Span(number, start, end, mentions[0]["text"], kind, tuple(mentions))
        for number, ((start, end, kind), mentions) in enumerate(grouped.items(), start=1)
    ]


def pieces(text: str, offset: int, spans: Sequence[Span]) -> Iterator[Piece]:
    """Yield the pieces of a passage that begins at `offset`; nested and crossing spans are cut at all their ends."""
    end = offset + len(text)
    inside = [span for span in spans if span.start < end and offset < span.end]
    edges = sorted({offset, end, *(edge for span in inside for edge in (span.start, span.end) if offset < edge < end)})
    for start, stop in pairwise(edges):
        covering = [span for span in inside if span.start <= start and stop <= span.end]
        innermost = min(covering, key=lambda span: span.end - span.start, default=None)
        yield Piece(text[start - offset : stop - offset], innermost, len(covering) > 1)


def excerpt(passages: Sequence[Mapping[str, Any]], places: Sequence[Mapping[str, int]]) -> list[tuple[str, bool]]:
    """Return the words around the first of some places, as runs of text and whether each is one of the places."""
    first = min(places, key=lambda place: place["start"])
    passage = next(
        (one for one in passages if one["offset"] <= first["start"] < one["offset"] + len(one["text"])), None
    )
    if passage is None:
        return []
    text, offset = passage["text"], passage["offset"]
    begin = _word_start(text, max(0, first["start"] - offset - _AROUND))
    stop = _word_end(text, min(len(text), first["end"] - offset + _AROUND))
    runs: list[tuple[str, bool]] = [("… ", False)] if begin else []
    at = begin
    for place in sorted(places, key=lambda one: (one["start"], -one["end"])):
        start, end = place["start"] - offset, place["end"] - offset
        if at <= start < end <= stop:
            runs += [(text[at:start], False), (text[start:end], True)]
            at = end
    runs.append((text[at:stop], False))
    return runs + ([(" …", False)] if stop < len(text) else [])


def _word_start(text: str, at: int) -> int:
    """Return the start of the word at a place, if it is near."""
    space = text.rfind(" ", max(0, at - 20), at)
    return at if not at or space < 0 else space + 1


def _word_end(text: str, at: int) -> int:
    space = text.find(" ", at, at + 20)
    return at if space < 0 else space
