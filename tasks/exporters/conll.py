"""Write CoNLL: one token per line, tagged B, I or O, with the concept in a separate column.

Format: the shared task of CoNLL-2003 (Tjong Kim Sang and De Meulder), with tabs between the columns: token, start, end,
concept, tag. The tag is last, and an empty line ends a sentence, as readers of that format expect. A document begins
with the token `-DOCSTART-`, whose concept column holds the document's id. A token is a run of letters and digits, or
one other character, and it ends at the end of a mention: `text[start:end]` is the token.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO

from e2emern.model.document import Document, Mention, Sentence
from e2emern.tasks.exporters.grouping import UNLINKED, Span, spans
from e2emern.tasks.sentences import split_sentences

_ID = re.compile(r"\S+")
_TOKEN = re.compile(r"\w+|[^\w\s]")


def unfit(document: Document) -> str | None:
    """Return why the format cannot represent a document; None if it can."""
    return None if _ID.fullmatch(document.document_id) else f"the id {document.document_id!r}"


def without_overlaps(mentions: Sequence[Mention]) -> list[Mention]:
    """Return the mentions that one sequence of tags can represent: the longest of those that overlap."""
    kept: list[tuple[int, int, str]] = []  # ascending
    places = {(one.start, one.end, one.entity_type) for one in mentions}
    for place in sorted(places, key=lambda place: (place[0] - place[1], *place)):
        at = bisect_left(kept, place)
        after_last = at == 0 or kept[at - 1][1] <= place[0]
        if after_last and (at == len(kept) or place[1] <= kept[at][0]):
            kept.insert(at, place)
    held = set(kept)
    return [one for one in mentions if (one.start, one.end, one.entity_type) in held]


def write(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write documents one by one; each must pass `unfit`, and its mentions `without_overlaps`."""
    for document, mentions in annotated:
        out.write("".join(_lines(document, mentions)).encode())


def _lines(document: Document, mentions: list[Mention]) -> Iterator[str]:
    yield f"-DOCSTART-\t-\t-\t{document.document_id}\tO\n\n"
    marked = list(spans(mentions))  # ascending, since they do not overlap
    at = 0
    for sentence in split_sentences(document):
        for token, start in _tokens(sentence, marked):
            while at < len(marked) and marked[at].end <= start:
                at += 1
            span = marked[at] if at < len(marked) and marked[at].start <= start else None
            tag = f"{'B' if span.start == start else 'I'}-{span.entity_type}" if span else "O"
            concept = span.identifier if span else UNLINKED
            yield f"{token}\t{start}\t{start + len(token)}\t{concept}\t{tag}\n"
        yield "\n"


def _tokens(sentence: Sentence, marked: Sequence[Span]) -> Iterator[tuple[str, int]]:
    """Yield each token of a sentence with its offset in the document."""
    first, last = sentence.start, sentence.end
    ends = {edge for span in marked for edge in (span.start, span.end) if first < edge < last}
    edges = sorted({first, last} | ends)
    for begin, end in pairwise(edges):
        for found in _TOKEN.finditer(sentence.text, begin - first, end - first):
            yield found[0], first + found.start()
