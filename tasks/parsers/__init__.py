"""Parsers of the input formats; the format is detected from the content, never from the name."""

from __future__ import annotations

import codecs
import string
from collections.abc import Callable, Iterator
from pathlib import Path

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import bioc_xml, pubmed
from e2emern.tasks.parsers.bioc_json import parse_bioc_json
from e2emern.tasks.parsers.bioc_xml import parse_bioc_xml
from e2emern.tasks.parsers.foreign import describe_root, describe_start
from e2emern.tasks.parsers.jsonl import is_jsonl, parse_jsonl
from e2emern.tasks.parsers.medline import is_medline, parse_medline
from e2emern.tasks.parsers.pubmed import parse_pubmed
from e2emern.tasks.parsers.pubtator import is_pubtator, parse_pubtator
from e2emern.tasks.parsers.records import Deletion, Failure, Record
from e2emern.tasks.parsers.source_reader import open_source
from e2emern.tasks.parsers.xml_stream import root_tag

__all__ = ["Deletion", "Failure", "Record", "detect_format", "parse"]

_EXPECTED = "PubMed XML or MEDLINE text, PubTator, BioC XML, BioC JSON or exported JSON lines, plain, gzip or xz"
_START = 1024  # bytes; enough to detect a format
_SPACE = codecs.BOM_UTF8 + string.whitespace.encode()
_UTF16_XML = {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}

_PARSERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "pubmed": parse_pubmed,
    "medline": parse_medline,
    "pubtator": parse_pubtator,
    "bioc-xml": parse_bioc_xml,
    "bioc-json": parse_bioc_json,
    "jsonl": parse_jsonl,
}


def parse(path: Path) -> Iterator[Record]:
    """Yield every record of a file in order: a Document, a Deletion or a Failure each, numbered from 0.

    Annotations that cannot be used are in the `invalid_annotations` of their Document. Memory does not grow with the
    file. Raises SourceError if the file is empty, of another format, unsafe, or damaged; in the last case, after the
    records that precede the damage.
    """
    yield from _PARSERS[detect_format(path)](path)


def detect_format(path: Path, *, expected: str = _EXPECTED) -> str:
    """Return the format of a file from its content: a key of `_PARSERS`, such as `pubmed`.

    `expected` names the accepted formats, for the error message. Raises SourceError if the file is empty, cannot be
    read, or is of another format.
    """
    start = _start(path, expected)
    if _is_xml(start):
        with open_source(path) as source:
            tag = root_tag(source, path)
        for name, roots in (("pubmed", pubmed.ROOTS), ("bioc-xml", bioc_xml.ROOTS)):
            if tag in roots:
                return name
        if what := describe_root(tag):
            raise SourceError(f"holds {what}", path=path)
        raise SourceError(f"XML with root element <{tag[:100]}>; expected {expected}", path=path)
    if what := describe_start(start):
        raise SourceError(f"holds {what}", path=path)
    if start.startswith((b"{", b"[")):
        return "jsonl" if is_jsonl(start) else "bioc-json"
    lines = start.decode("utf-8", "replace").split("\n")
    if any(map(is_pubtator, lines)):
        return "pubtator"
    if any(map(is_medline, lines)):
        return "medline"
    what = start[:20].decode("utf-8", "backslashreplace")
    raise SourceError(f"starts with {what!r}; expected {expected}", path=path)


def _is_xml(start: bytes) -> bool:
    if encoding := _UTF16_XML.get(start[:2]):
        return start.decode(encoding, "replace").lstrip("\ufeff \t\r\n").startswith("<")
    return start.startswith(b"<")


def _start(path: Path, expected: str) -> bytes:
    """Return the first bytes of a file, from its first character that is not a space."""
    start = b""
    with open_source(path, expected=expected) as source:
        try:
            for chunk in source.chunks():  # a chunk may be as small as a member of a gzip file
                start = (start + chunk).lstrip(_SPACE)
                if len(start) >= _START:
                    break
        except SourceError:
            if not start:
                raise
    if not start:
        raise SourceError(f"holds nothing but spaces; expected {expected}", path=path)
    return start
