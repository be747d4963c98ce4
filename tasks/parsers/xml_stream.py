"""Stream elements of an XML source in constant memory, with entities, network and external DTDs off."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from html.entities import html5
from typing import Any, cast

from lxml import etree

from e2emern.model.document import InvalidAnnotation
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.annotations import shown
from e2emern.tasks.parsers.foreign import describe_root, describe_start
from e2emern.tasks.parsers.source_reader import Input, SourceReader, open_source
from e2emern.tasks.parsers.xml_input import XmlInput

_SAFE: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_MAX_PROLOG = 1024 * 1024  # bytes; the start tag of the root element ends within them
_TEX = ("{*}annotation", "{*}annotation-xml", "mml:annotation", "mml:annotation-xml")  # the last: prefix undeclared
_TEX_NAMES = frozenset({"annotation", "annotation-xml"})
_SHOWN = 100  # characters of a message of the parser


def elements(path: Input, roots: Mapping[str, Collection[str]]) -> Iterator[tuple[etree._Element, int]]:
    """Yield the records of every XML document of a file, each with the number of lines that precede its document.

    `roots` gives the tags of the records by the tag of the root element. A record is emptied when the next one is
    requested. For a document with another root element, only the root element is yielded, emptied; `wrong_root` says
    why it cannot be used.

    Raises SourceError if the file cannot be read or is not well-formed XML, after the elements that precede the
    damage, and if a DTD declares entities.
    """
    with open_source(path) as source:
        xml = XmlInput(source)
        found = False
        while xml.to_document():
            found = True
            if xml.waiting[:1] not in b"<":
                raise SourceError(f"line {xml.lines + 1} holds {_no_xml(xml.waiting)}; remove it", path=path)
            yield from _elements(xml, path, roots)
        if not found:
            raise SourceError("holds no XML element, only comments or spaces", path=path)


def root_tag(source: SourceReader, path: Input) -> str:
    """Return the tag of the root element of the first XML document, without reading further.

    Raises SourceError if there is none, and if the DTD declares entities.
    """
    xml = XmlInput(source)
    if not xml.to_document():
        raise SourceError("holds no XML element, only comments or spaces", path=path)
    return str(_root(xml, path)[0].tag)


def position_of(element: etree._Element, before: int) -> str:
    """Return where in its file an element begins, if `before` lines precede its XML document.

    Ask for it only if it is needed: the parser walks over the document for a line beyond 65,535.
    """
    return f"line {before + cast(int, element.sourceline)}"


def flat_text(element: etree._Element) -> str:
    """Return the text of an element and of all its markup.

    HTML's named entities are their characters, unknown ones stay as written. The TeX or other source that MathML
    keeps in `annotation` is left out.
    """
    if len(element) == 0:  # by far the most frequent, and much faster
        return element.text or ""
    text = "".join(map(str, element.itertext()))
    if "&" not in text and next(element.iter(*_TEX), None) is None:
        return text
    return "".join(_texts(element))


def unknown_entities(element: etree._Element, before: int) -> tuple[InvalidAnnotation, ...]:
    """Return an entry for each named entity in an element that HTML does not define, so its character is unknown.

    `before` lines precede the element's XML document in its file.
    """
    return tuple(
        InvalidAnnotation(
            position_of(element, before),
            "unknown entity",
            f"{shown(str(entity.text))} is not an entity of HTML; kept as it is",
        )
        for entity in element.iter(etree.Entity)
        if _character(entity) is None
    )


def wrong_root(element: etree._Element, expected: str) -> str:
    """Return why a document with another root element cannot be used, as the reason of a Failure."""
    what = describe_root(str(element.tag)) or f"XML with root element <{str(element.tag)[:_SHOWN]}>"
    return f"{what}; expected {expected}"


def _elements(xml: XmlInput, path: Input, roots: Mapping[str, Collection[str]]) -> Iterator[tuple[etree._Element, int]]:
    """Yield the records of the next XML document."""
    root, size = _root(xml, path)
    first = xml.lines
    tags = roots.get(str(root.tag))
    wanted = None if tags is None else (*tags, str(root.tag))  # all elements of an unknown document, to empty them
    parser = etree.XMLPullParser(events=("end",), tag=wanted, encoding=xml.encoding, **_SAFE)
    name = str(root.tag).rpartition("}")[2]  # with its prefix if that is not declared, which QName refuses
    end_tag = f"</{root.prefix}:{name}" if root.prefix else f"</{name}"
    piece = xml.take(size)
    ended = False
    while not ended:
        fault = _feed(parser, piece)
        for element in _read(parser):
            ended = element.getparent() is None
            if element.tag in (tags or ()) or (ended and tags is None):
                yield element, first
            _forget(element)
        if fault is not None and not ended:
            what = describe_root(str(root.tag))
            raise SourceError(f"line {first + 1} holds {what}", path=path) if what else _damaged(path, fault, first)
        if not piece and not ended:
            last = first + _line(parser)
            raise SourceError(f"ends early, in line {last} and without {end_tag}>; download it again", path=path)
        if not ended:
            piece = xml.take_up_to(end_tag.encode())
    xml.lines += _line(parser) - 1


def _root(xml: XmlInput, path: Input) -> tuple[etree._Element, int]:
    """Return the start of the next root element, and the number of bytes up to the end of its start tag.

    The input is not consumed. An empty root element may end with its start tag.
    """
    parser = etree.XMLPullParser(events=("start",), encoding=xml.encoding, **_SAFE)
    fed = 0
    while len(xml.waiting) <= _MAX_PROLOG:
        end = xml.waiting.find(b">", fed) + 1
        if not end:
            if xml.fill():
                continue
            raise SourceError(
                f"ends early, in line {_last(xml)} and before any XML element; download it again", path=path
            )
        fault = _feed(parser, xml.waiting[fed:end])
        for root in _read(parser):
            _refuse_entities(root, path)
            return root, end
        if fault is not None:
            raise _damaged(path, fault, xml.lines)
        fed = end
    raise SourceError(f"holds no XML element in {_MAX_PROLOG:,} bytes; expected an XML file", path=path)


def _last(xml: XmlInput) -> int:
    return xml.lines + xml.waiting.count(b"\n") + 1


def _feed(parser: etree.XMLPullParser, piece: bytes) -> etree._LogEntry | None:
    """Parse a piece and return the first error that ends the parsing."""
    raised = False
    try:
        parser.feed(piece)
    except etree.XMLSyntaxError:
        raised = True
    log = parser.feed_error_log
    for entry in log:
        if entry.level >= etree.ErrorLevels.FATAL:
            return entry
    return log[0] if raised and len(log) else None


def _line(parser: etree.XMLPullParser) -> int:
    """Return the line that a parser has reached, and close the parser: only its errors name the line."""
    with suppress(etree.XMLSyntaxError):
        parser.feed(b"\0\0")
        parser.close()
    return int(max(entry.line for entry in parser.feed_error_log))


def _read(parser: etree.XMLPullParser) -> Iterator[etree._Element]:
    for _, element in parser.read_events():
        yield cast(etree._Element, element)


def _refuse_entities(element: etree._Element, path: Input) -> None:
    """Raise SourceError if the DTD of an element's document declares entities."""
    dtd = element.getroottree().docinfo.internalDTD
    if dtd is not None and dtd.entities():  # type: ignore[attr-defined]  # missing in lxml-stubs
        raise SourceError(
            "its DTD declares entities; refused as unsafe, expand them first if you trust the file", path=path
        )


def _no_xml(text: bytes) -> str:
    what = describe_start(text) or f"{shown(text[:_SHOWN].decode('utf-8', 'replace').split(chr(10))[0])}"
    return f"something other than XML ({what})"


def _texts(element: etree._Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if child.tag is etree.Entity:
            yield _character(child) or str(child.text)
        elif re.split("[}:]", str(child.tag))[-1] not in _TEX_NAMES:
            yield from _texts(child)
        yield child.tail or ""


def _character(entity: etree._Element) -> str | None:
    return html5.get(str(entity.text)[1:])  # its text is `&alpha;`, the table's key `alpha;`


def _forget(element: etree._Element) -> None:
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _damaged(path: Input, fault: etree._LogEntry, first: int) -> SourceError:
    """Return an error with the remedy; `first` is the number of lines before the document, unknown to the parser."""
    message = re.sub(r"\bline (\d+)", lambda line: f"line {int(line[1]) + first}", " ".join(fault.message.split()))
    if "XML declaration allowed only" in message:
        message, advice = "an XML document starts within another", "the first one is truncated, download it again"
    elif fault.type == etree.ErrorTypes.ERR_UNDECLARED_ENTITY:
        advice = "write it as the character itself"
    elif "encoding" in message:
        advice = "convert the file to UTF-8"
    else:
        advice = "correct it, or download the file again"
    where = f"line {fault.line + first}, column {fault.column}"
    return SourceError(f"not well-formed XML at {where} ({message[:_SHOWN]}); {advice}", path=path)
