"""Streams elements of an XML source in constant memory, with entities, network and external DTDs off."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from lxml import etree

from tasks.errors import SourceError
from tasks.parsers.opening import SourceReader, open_source


def elements(path: Path, tags: Collection[str]) -> Iterator[etree._Element]:
    """Yield each element of one of `tags` in document order; it is emptied when the next is asked for.

    Raises SourceError where the file cannot be read or is no well-formed XML, after the elements that precede the
    damage, and where its DTD declares entities.
    """
    with open_source(path) as source:
        context = etree.iterparse(
            source,
            events=("end",),
            tag=tuple(tags),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        checked = False
        try:
            for _, element in context:
                if not checked:
                    refuse_entities(element, path)
                    checked = True
                yield element
                _forget(element)
        except etree.XMLSyntaxError as error:
            raise _damaged(path, error, context.error_log) from error
        if not checked and context.root is not None:
            refuse_entities(context.root, path)


def root_tag(source: SourceReader, path: Path) -> str:
    """Return the tag of the root element, reading no further than it takes.

    Raises SourceError where there is none, and where the DTD declares entities.
    """
    parser = etree.XMLPullParser(
        events=("start",), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    root = None
    try:
        for chunk in source.chunks():
            parser.feed(chunk)
            root = _started(parser)
            if root is not None:
                break
        else:
            parser.close()
    except etree.XMLSyntaxError as error:  # of a place after the root element's start, perhaps
        root = _started(parser)
        if root is None:
            raise _damaged(path, error, parser.error_log) from error
    if root is None:
        raise SourceError(f"{path}: no XML element; expected PubMed XML or BioC XML")
    refuse_entities(root, path)
    return str(root.tag)


def refuse_entities(element: etree._Element, path: Path) -> None:
    """Raise SourceError where the DTD of an element's document declares entities."""
    dtd = element.getroottree().docinfo.internalDTD
    if dtd is not None and dtd.entities():  # type: ignore[attr-defined]  # missing in lxml-stubs
        raise SourceError(
            f"{path}: its DTD declares entities; refused as unsafe, expand them first if you trust the file"
        )


def flat_text(element: etree._Element) -> str:
    """Return the text of an element and of all its markup."""
    if len(element) == 0:  # by far the most frequent, and much faster
        return element.text or ""
    return "".join(map(str, element.itertext()))


def _started(parser: etree.XMLPullParser) -> etree._Element | None:
    for _, element in parser.read_events():
        if isinstance(element, etree._Element):
            return element
    return None


def _forget(element: etree._Element) -> None:
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _damaged(path: Path, error: etree.XMLSyntaxError, log: etree._ListErrorLog) -> SourceError:
    """Name the first error of the log, since the exception tells of its consequences at times."""
    where = f"line {log[0].line}, column {log[0].column}: {log[0].message}" if len(log) else str(error.msg)
    return SourceError(f"{path}: not well-formed XML ({' '.join(where.split())}); download the file again")
