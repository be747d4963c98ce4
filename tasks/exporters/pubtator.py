"""Write PubTator text: `id|t|title`, `id|a|abstract`, one tab-separated line per annotation, and a blank line.

Format: Wei, Kao and Lu, PubTator (Nucleic Acids Research 2013) and NCBI's bioconcepts2pubtator_offsets. Offsets count
code points of the title, one separator and the abstract, whatever the offsets of the document's passages are. Readers
differ in whether they count white space around a text, so none is written, and offsets do not count it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from e2emern.model.document import Document, Mention
from e2emern.tasks.exporters.grouping import spans

# Tabs separate columns. Some readers end a line at any of the other characters, and some read a line with `|t|` or
# `|a|` as a title or an abstract.
FORBIDDEN = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]|\|(?=[ta]\|)")
SUBSTITUTE = " "

_ID = re.compile(r"[^|\s]+")
_SECTIONS = ("title", "abstract")


def unfit(document: Document) -> str | None:
    """Return why the format cannot represent a document; None if it can."""
    others = [passage.section for passage in document.passages if passage.section not in _SECTIONS]
    if others:
        return f"passages beyond title and abstract ({others[0]!r})"
    if not _ID.fullmatch(document.document_id):
        return f"the id {document.document_id!r}"
    return None


def write(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write documents one by one; each must pass `unfit` and be free of FORBIDDEN characters."""
    for document, mentions in annotated:
        out.write(_record(document, mentions).encode())


def _record(document: Document, mentions: list[Mention]) -> str:
    name, title, abstract = document.document_id, document.title, document.abstract
    lines = [f"{name}|t|{title.strip()}", f"{name}|a|{abstract.strip()}"]
    text = f"{title.strip()} {abstract.strip()}"
    shifts = _shifts(document)
    for span in spans(mentions):
        _, _, shift, low, high = next(each for each in shifts if each[0] <= span.start and span.end <= each[1])
        start, end = (min(max(at + shift, low), high) for at in (span.start, span.end))
        if start == end:  # only white space, which is not written
            continue
        columns = (name, start, end, text[start:end], span.entity_type, span.identifier)
        lines.append("\t".join(map(str, columns)))
    return "\n".join(lines) + "\n\n"


def _shifts(document: Document) -> list[tuple[int, int, int, int, int]]:
    """Return start, end and shift of each passage, and the bounds of its section in the written text."""
    title, abstract = document.title, document.abstract
    begin = len(title.strip()) + 1  # offset of the abstract
    bounds = {"title": (0, begin - 1), "abstract": (begin, begin + len(abstract.strip()))}
    at = {"title": -_margin(title), "abstract": begin - _margin(abstract)}
    shifts = []
    for passage in document.passages:
        shift = at[passage.section] - passage.offset
        shifts.append((passage.offset, passage.end, shift, *bounds[passage.section]))
        at[passage.section] += len(passage.text) + 1  # passages of one section are joined by a space
    return shifts


def _margin(text: str) -> int:
    """Return the number of characters that stripping removes from the start of a text."""
    return len(text) - len(text.lstrip())
