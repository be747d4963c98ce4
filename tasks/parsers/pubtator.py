"""PubTator text: `id|t|title`, `id|a|abstract`, then tab-separated annotations and relations, then a blank line.

Format: https://www.ncbi.nlm.nih.gov/research/pubtator3/tutorial (BioCreative V CDR, NCBI disease and BioRED corpora
follow it). Offsets count code points of `title + " " + abstract`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from model.document import Annotation, Document, InvalidAnnotation, Passage
from tasks.errors import SourceError
from tasks.parsers.annotations import InvalidAnnotationError, fitted, shown
from tasks.parsers.opening import open_source
from tasks.parsers.records import Failure, Record

_TEXT = re.compile(r"([^|\t\s]+)\|([ta])\|(.*)", re.DOTALL)
_RETURN = re.compile(r"\r[^|\t\s]+(?:\|[ta]\||\t)")  # a line after a carriage return
_NUMBER = re.compile(r"[0-9]{1,9}")
_PMID = re.compile(r"[0-9]{1,18}")

_Line = tuple[int, str]  # 1-based line number, text without its line end


class _RecordError(ValueError):
    """A record that cannot be used, and the line that shows it."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def parse_pubtator(path: Path) -> Iterator[Record]:
    """Yield the records of a PubTator file in order: a Document or a Failure each.

    Annotations that cannot be used are in the document's `invalid_annotations`. Relations are passed over.
    Raises SourceError where the file cannot be read to its end, after the records that precede the damage.
    """
    with open_source(path, expected="PubTator text") as source:
        for record, lines in enumerate(_blocks(source.lines())):
            try:
                yield _document(record, lines)
            except _RecordError as error:
                document_id = re.split(r"[|\t]", lines[0][1], maxsplit=1)[0].strip()[:100]
                yield Failure(record, f"line {error.number}", str(error), document_id or None)


def is_pubtator(line: str) -> bool:
    """Tell whether a line is the title or abstract of a PubTator document."""
    return _TEXT.match(line) is not None


def _blocks(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    """Group the lines of one document: to the next blank line, title, or text of another id.

    An abstract goes with the title of its id across blank lines.
    """
    block: list[_Line] = []
    document_id = None
    ended = False  # by a blank line
    try:
        for number, line in lines:
            if not line.strip():
                ended = True
                continue
            match = _TEXT.match(line)
            goes_on = match and match[2] == "a" and match[1] == document_id
            if block and not goes_on and (ended or match):
                yield block
                block = []
            block.append((number, line))
            document_id = match[1] if match else document_id
            ended = False
    except SourceError:
        if block and ended:
            yield block
        raise
    if block:
        yield block


def _document(record: int, lines: list[_Line]) -> Document:
    document_id, title, abstract, mentions = _read(lines)
    if title != title.rstrip():
        # Dumps pad titles with a space that their offsets do not count; where a source counts it, keep it.
        layouts = [title.rstrip(), title]
        title = max(layouts, key=lambda layout: sum(_fits(m, f"{layout} {abstract}") for _, m in mentions))
    passages = tuple(
        passage
        for passage in (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
        if passage.text.strip()
    )
    text = f"{title} {abstract}" if passages else ""
    annotations: list[Annotation] = []
    invalid: list[InvalidAnnotation] = []
    for number, (start, end, mention, entity_type, identifier) in mentions:
        try:
            annotations.append(fitted(start, end, mention, entity_type, identifier, text=text, line=number))
        except InvalidAnnotationError as error:
            invalid.append(error.at(f"line {number}"))
    return Document(
        document_id=document_id,
        record=record,
        passages=passages,
        pmid=int(document_id) if _PMID.fullmatch(document_id) else None,
        annotations=tuple(annotations),
        invalid_annotations=tuple(invalid),
    )


_Mention = tuple[int, int, str, str, str]  # start, end, text, type, identifiers as written


def _read(lines: list[_Line]) -> tuple[str, str, str, list[tuple[int, _Mention]]]:
    texts: dict[str, str] = {}
    mentions: list[tuple[int, _Mention]] = []
    document_id = None
    for number, line in lines:
        if _RETURN.search(line):
            raise _RecordError(number, "lines end with a carriage return alone, expected a line feed; convert the file")
        if match := _TEXT.match(line):
            document_id, kind, text = match.groups()
            if kind in texts:
                raise _RecordError(number, f"a second |{kind}| line; expected one a document")
            texts[kind] = text
            continue
        columns = line.split("\t")
        if document_id is None:
            raise _RecordError(number, f"found {shown(line)}, expected a line such as 'id|t|title' first")
        if columns[0].strip() != document_id:
            raise _RecordError(number, f"line of {shown(columns[0])} in document {document_id}")
        if mention := _mention(columns):
            mentions.append((number, mention))
        elif not _is_relation(columns):
            raise _RecordError(number, f"found {shown(line)}, expected text, annotation or relation")
    assert document_id is not None  # a block has a line, and a first line without an id raises
    return document_id, texts.get("t", ""), texts.get("a", ""), mentions


def _mention(columns: list[str]) -> _Mention | None:
    """Read `id start end mention type [identifiers [parts of a composite, score]]`."""
    if len(columns) < 5 or not (_NUMBER.fullmatch(columns[1]) and _NUMBER.fullmatch(columns[2])):
        return None
    identifier = columns[5] if len(columns) > 5 else ""
    return int(columns[1]), int(columns[2]), columns[3], columns[4].strip(), identifier


def _is_relation(columns: list[str]) -> bool:
    """Tell whether a line is `id relation argument argument [novelty]`."""
    return len(columns) in (4, 5) and bool(re.match(r"[A-Za-z]", columns[1]))


def _fits(mention: _Mention, text: str) -> bool:
    start, end, words = mention[:3]
    return text[start:end] == words
