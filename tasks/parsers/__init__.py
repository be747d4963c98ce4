"""Parsers of the formats of input; the format is found from the content, never from the name."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.errors import SourceError
from tasks.parsers import bioc_xml, pubmed
from tasks.parsers.bioc_json import parse_bioc_json
from tasks.parsers.bioc_xml import parse_bioc_xml
from tasks.parsers.jsonl import is_jsonl, parse_jsonl
from tasks.parsers.opening import open_source
from tasks.parsers.pubmed import parse_pubmed
from tasks.parsers.pubtator import is_pubtator, parse_pubtator
from tasks.parsers.records import Deletion, Failure, Record
from tasks.parsers.xml_stream import root_tag

__all__ = ["Deletion", "Failure", "Record", "detect_format", "parse"]

_EXPECTED = "PubMed XML, PubTator, BioC XML, BioC JSON or exported JSON lines, plain, gzip or xz"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_PARSERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "pubmed": parse_pubmed,
    "pubtator": parse_pubtator,
    "bioc-xml": parse_bioc_xml,
    "bioc-json": parse_bioc_json,
    "jsonl": parse_jsonl,
}


def parse(path: Path) -> Iterator[Record]:
    """Yield every record of a file in order: a Document, a Deletion or a Failure each, numbered from 0.

    Annotations that cannot be used are in the `invalid_annotations` of their Document. Memory does not grow with the
    file. Raises SourceError if the file is empty, of another format, hostile, or damaged; in the last case after the
    records that precede the damage.
    """
    yield from _PARSERS[detect_format(path)](path)


def detect_format(path: Path, *, expected: str = _EXPECTED) -> str:
    """Return the format of a file from its content: one of `pubmed`, `pubtator`, `bioc-xml`, `bioc-json` and `jsonl`.

    `expected` names the formats that are taken, for the error. Raises SourceError where the file is empty, cannot be
    read, or is of another format.
    """
    start = _start(path, expected)
    if start.startswith((b"<", *_UTF16)):
        with open_source(path) as source:
            tag = root_tag(source, path)
        for name, roots in (("pubmed", pubmed.ROOTS), ("bioc-xml", bioc_xml.ROOTS)):
            if tag in roots:
                return name
        raise SourceError(f"{path}: XML with root element <{tag[:100]}>; expected {expected}")
    if start.startswith((b"{", b"[")):
        return "jsonl" if is_jsonl(start) else "bioc-json"
    if any(map(is_pubtator, start.decode("utf-8", "replace").split("\n"))):
        return "pubtator"
    what = start[:20].decode("utf-8", "backslashreplace")
    raise SourceError(f"{path}: starts with {what!r}; expected {expected}")


def _start(path: Path, expected: str) -> bytes:
    """Return the first bytes of a file, from its first character that is no space."""
    with open_source(path, expected=expected) as source:
        for chunk in source.chunks():
            if start := chunk.removeprefix(codecs.BOM_UTF8).lstrip():
                return start
    raise SourceError(f"{path}: holds nothing but spaces; expected {expected}")
