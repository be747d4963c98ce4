"""Parse PubTator text: `id|t|title`, `id|a|abstract`, tab-separated annotations and relations, a blank line.

Format: https://www.ncbi.nlm.nih.gov/research/pubtator3/tutorial (BioCreative V CDR, NCBI disease and BioRED corpora
follow it). Offsets count code points of `title + " " + abstract`.

A document is kept if its id and its text can be trusted. Every other line that cannot be used is one of its
`invalid_annotations`. Relations are skipped: `id relation argument argument [novelty]`, and BioREDirect's
`id argument argument Subject:argument|score`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Passage
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.annotations import InvalidAnnotationError, fitted, read_offset, shown
from e2emern.tasks.parsers.foreign import not_utf8
from e2emern.tasks.parsers.joined import Line, likely_title, separate_titles
from e2emern.tasks.parsers.records import Failure, Record
from e2emern.tasks.parsers.source_reader import Input, SourceReader, open_source

_TEXT = re.compile(r"([^|\t\s]+)\|([ta])\|(.*)", re.DOTALL)
_RETURN = re.compile(r"\r[^|\t\s]+(?:\|[ta]\||\t)")  # a line after a carriage return
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # a byte, as `surrogateescape` decodes it
_GLUED = re.compile(r"[0-9]\|t\|")  # in an annotation: the title of another record
_NUMERIC = re.compile(r"\s*[-+]?\.?[0-9]")
_DIRECTION = re.compile(r"(?:Subject|Object):")
_LONG_ID = 4  # characters; a formula may hold a shorter one before `|a|`
_NO_NUMBER = ("na", "nan", "nil", "none", "null")  # written by table tools for a missing offset
_PMID = re.compile(r"[0-9]{1,18}")

_CARRIAGE_RETURNS = "lines end with a carriage return, expected a line feed; convert the file"
_NOT_OF_THE_FORMAT = "not a line of the format"


class _RecordError(ValueError):
    """A record that cannot be used, with the line at fault."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def parse_pubtator(path: Input) -> Iterator[Record]:
    """Yield the records of a PubTator file in order, each a Document or a Failure.

    Files may be joined without a line end between them: see `separate_titles`. Bytes that are not UTF-8 invalidate
    only the record, or the annotation, that holds them.
    Raises SourceError if the file cannot be read to its end, after the records that precede the damage.
    """
    with open_source(path, expected="PubTator text") as source:
        for record, lines in enumerate(_blocks(separate_titles(_decoded(source)))):
            try:
                yield _document(record, lines)
            except _RecordError as error:
                document_id = re.split(r"[|\t]", lines[0][1], maxsplit=1)[0].strip()[:100]
                yield Failure(record, f"line {error.number}", str(error), _NOT_UTF8.sub("\ufffd", document_id) or None)


def is_pubtator(line: str) -> bool:
    """Return whether a line is the title or abstract of a PubTator document."""
    return _TEXT.match(line) is not None


def _decoded(source: SourceReader) -> Iterator[Line]:
    for number, line in source.raw_lines():
        yield number, line.decode("utf-8-sig", "surrogateescape")


def _blocks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Group the lines of one document, up to the next blank line, title, or text of another id.

    The abstract and the annotations with its id continue a document across blank lines. A second, different title with
    its id continues it unless a blank line precedes it: such a document cannot be trusted. The same title restarts it.
    """
    block: list[Line] = []
    document_id = title = None
    ended = False  # by a blank line
    try:
        for number, line in lines:
            if not line.strip():
                ended = True
                continue
            match = _TEXT.match(line)
            if match:
                is_other_title = match[2] == "t" and not ended and title not in (None, match[3])
                continues = match[1] == document_id and (match[2] == "a" or is_other_title)
            else:
                continues = not ended or _first_column(line) == document_id
            if block and not continues:
                yield block
                block, document_id, title = [], None, None
            block.append((number, line))
            if match:
                document_id, title = match[1], match[3] if match[2] == "t" else title
            ended = False
    except SourceError:
        if block and ended:
            yield block
        raise
    if block:
        yield block


def _document(record: int, lines: list[Line]) -> Document:
    block = _read(lines)
    title, abstract = block.texts.get("t", ""), block.texts.get("a", "")
    if title != title.rstrip():
        # Dumps pad titles with a space that their offsets do not count; if a source counts it, keep it.
        layouts = [title.rstrip(), title]
        title = max(layouts, key=lambda layout: sum(_fits(m, f"{layout} {abstract}") for _, m in block.mentions))
    passages = tuple(
        passage
        for passage in (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
        if passage.text.strip()
    )
    text = f"{title} {abstract}" if passages else ""
    annotations: list[Annotation] = []
    for number, (start, end, mention, entity_type, identifier) in block.mentions:
        try:
            annotations.append(fitted(start, end, mention, entity_type, identifier, text=text, line=number))
        except InvalidAnnotationError as error:
            block.invalid.append((number, error))
    return Document(
        document_id=block.document_id,
        record=record,
        passages=passages,
        pmid=int(block.document_id) if _PMID.fullmatch(block.document_id) else None,
        annotations=tuple(annotations),
        invalid_annotations=tuple(_located(block.invalid)),
    )


_Mention = tuple[int, int, str, str, str]  # start, end, text, type, identifiers as written


@dataclass(slots=True)
class _Block:
    """The parsed lines of one document: texts by `t` and `a`, and the others with their line numbers."""

    document_id: str
    texts: dict[str, str] = field(default_factory=dict)
    mentions: list[tuple[int, _Mention]] = field(default_factory=list)
    invalid: list[tuple[int, InvalidAnnotationError]] = field(default_factory=list)


def _read(lines: list[Line]) -> _Block:
    number, line = lines[0]
    match = _TEXT.match(line)
    if match is None:
        raise _RecordError(number, f"found {shown(line)}, expected a line such as 'id|t|title' first")
    block = _Block(match[1])
    suspect: tuple[int, str] | None = None  # a text that another record's title may end
    for number, line in lines:
        match = _TEXT.match(line)
        title = likely_title(match[3]) if match else None
        if title:
            suspect = number, title
        elif match or _first_column(line) == block.document_id:
            suspect = None
        try:
            if match:
                _add_text(block, number, match)
            elif mention := _mention(line, block):
                block.mentions.append((number, mention))
        except InvalidAnnotationError as error:
            block.invalid.append((number, error))
    if suspect:
        number, title = suspect
        raise _RecordError(number, f"{shown(title)} within a text; if a record begins there, put a line end before it")
    return block


def _add_text(block: _Block, number: int, match: re.Match[str]) -> None:
    """Add a title or an abstract. Raises _RecordError if it cannot be trusted."""
    _, kind, text = match.groups()
    if reason := _not_utf8(match[0]):
        raise _RecordError(number, reason)
    if _RETURN.search(match[0]):
        raise _RecordError(number, _CARRIAGE_RETURNS)
    if reason := _own_line_within(text, kind, block.document_id):
        raise _RecordError(number, reason)
    if kind in block.texts:
        if block.texts[kind] != text:
            raise _RecordError(number, f"a second |{kind}| line with other text; expected one per document")
        raise InvalidAnnotationError("text repeated", f"a second |{kind}| line with the same text")
    block.texts[kind] = text


def _own_line_within(text: str, kind: str, document_id: str) -> str | None:
    """Return the problem if a text contains the next line of its document, as after a lost line end; else None."""
    annotation = re.search(rf"(?<![0-9]){re.escape(document_id)}\t-?[0-9]+\t-?[0-9]+\t", text)
    abstract = f"{document_id}|a|"
    has_abstract = kind == "t" and len(document_id) >= _LONG_ID and abstract in text
    if not annotation and not has_abstract:
        return None
    found = annotation[0] if annotation else abstract
    return f"{shown(found)} within a text; put a line end before it"


def _mention(line: str, block: _Block) -> _Mention | None:
    """Read `id start end mention type [identifiers [parts of a composite, score]]`; None for a relation.

    Raises InvalidAnnotationError if the line is neither.
    """
    if reason := _not_utf8(line):
        raise InvalidAnnotationError("not UTF-8", reason)
    if _RETURN.search(line):
        raise InvalidAnnotationError(_NOT_OF_THE_FORMAT, _CARRIAGE_RETURNS)
    columns = line.rstrip("\t ").split("\t")
    if len(columns) == 1 or _GLUED.search(line):
        raise InvalidAnnotationError(_NOT_OF_THE_FORMAT, f"found {shown(line)}, expected text, annotation or relation")
    if columns[0].strip() != block.document_id:
        raise InvalidAnnotationError("line of another document", f"line of {shown(columns[0])} in {block.document_id}")
    if _is_relation(columns, block.texts.values()):
        return None
    if len(columns) < 4 or not any(map(_NUMERIC.match, columns[1:3])):
        raise InvalidAnnotationError(_NOT_OF_THE_FORMAT, f"found {shown(line)}, expected text, annotation or relation")
    start, end = map(read_offset, columns[1:3])
    entity_type, identifier = (*columns[4:6], "", "")[:2]
    if not entity_type.strip():
        raise InvalidAnnotationError("no type", f"{shown(columns[3])} at {start}-{end} has no type")
    return start, end, columns[3], entity_type.strip(), identifier


def _is_relation(columns: list[str], texts: Iterable[str]) -> bool:
    """Return whether a line is a relation; one with words of the text as its mention is an annotation."""
    if len(columns) not in (4, 5):
        return False
    first, second = columns[1].strip(), columns[2].strip()
    if len(columns) == 4 and _DIRECTION.match(columns[3]):
        return True
    if not first[:1].isalpha():
        return False
    is_offset = _NUMERIC.match(second) or second.lower() in ("", *_NO_NUMBER)
    is_annotation = len(columns) > 4 and is_offset and any(columns[3] in text for text in texts)
    return first.lower() not in _NO_NUMBER and not is_annotation


def _first_column(line: str) -> str:
    return line.partition("\t")[0].strip()


def _not_utf8(line: str) -> str | None:
    found = _NOT_UTF8.search(line)
    if not found:
        return None
    written = line.encode("utf-8", "surrogateescape")
    return not_utf8(written, len(line[: found.start()].encode()))


def _located(invalid: list[tuple[int, InvalidAnnotationError]]) -> Iterator[InvalidAnnotation]:
    for number, error in sorted(invalid, key=lambda each: each[0]):
        yield error.at(f"line {number}")


def _fits(mention: _Mention, text: str) -> bool:
    start, end, words = mention[:3]
    return text[start:end] == words
