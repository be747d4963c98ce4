"""Parsers of the input formats.

The format is detected from the content. The file name matters only if the content could be any text: plain text and
Markdown, and tables whose columns do not have the usual names.
"""

from __future__ import annotations

import codecs
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import bioc_xml, pubmed
from e2emern.tasks.parsers.archives import MemberError, members
from e2emern.tasks.parsers.bioc_json import parse_bioc_json
from e2emern.tasks.parsers.bioc_xml import parse_bioc_xml
from e2emern.tasks.parsers.columns import GUESSED, Columns, choose_columns
from e2emern.tasks.parsers.foreign import container, describe_root, describe_start
from e2emern.tasks.parsers.jsonl import first_keys, parse_jsonl
from e2emern.tasks.parsers.medline import is_medline, parse_medline
from e2emern.tasks.parsers.pubmed import parse_pubmed
from e2emern.tasks.parsers.pubtator import is_pubtator, parse_pubtator
from e2emern.tasks.parsers.records import Deletion, Failure, Record, RecordError
from e2emern.tasks.parsers.source_reader import Input, Member, open_source
from e2emern.tasks.parsers.tables import columns_of, parse_csv, parse_json_rows, parse_parquet, split_header
from e2emern.tasks.parsers.text import parse_text
from e2emern.tasks.parsers.xml_stream import root_tag

__all__ = ["ARCHIVES", "TABLES", "Columns", "Deletion", "Failure", "Record", "detect_format", "parse", "table_columns"]

ARCHIVES = ("zip", "tar")
TABLES = ("csv", "json-lines", "parquet")
_EXPECTED = (
    "PubMed XML or MEDLINE text, PubTator, BioC, JSON lines, a table with column names, or a text named .txt or .md; "
    "plain, compressed, or in a zip or tar archive"
)
_TEXTS = frozenset({".txt", ".text", ".md", ".markdown"})
_CSV = frozenset({".csv", ".tsv", ".tab"})
_TABLES = _CSV | {".jsonl", ".ndjson", ".json", ".parquet"}
_COMPRESSED = frozenset({".gz", ".xz", ".bz2", ".zst"})
_START = 1024  # bytes; enough to detect a format
_SPACE = codecs.BOM_UTF8 + string.whitespace.encode()
_UTF16_XML = {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}

_PARSERS: dict[str, Callable[[Input], Iterator[Record]]] = {
    "pubmed": parse_pubmed,
    "medline": parse_medline,
    "pubtator": parse_pubtator,
    "bioc-xml": parse_bioc_xml,
    "bioc-json": parse_bioc_json,
    "jsonl": parse_jsonl,
}
_TABLE_PARSERS = dict(zip(TABLES, (parse_csv, parse_json_rows, parse_parquet), strict=True))


def parse(path: Input, *, name: str | None = None, columns: Columns = GUESSED) -> Iterator[Record]:
    """Yield every record of a file in order, as a Document, a Deletion or a Failure, numbered from 0.

    Annotations that cannot be used are in the `invalid_annotations` of their Document. Memory does not grow with the
    file, except for a text, whose size is limited. Raises SourceError if the file is empty, unsafe, damaged, or has
    another format; if it is damaged, after the records that precede the damage.

    Args:
        path: the file, or a member of an archive.
        name: name of the file, if it differs from that of the path; the ids of texts are made from it.
        columns: of tables; those that are not named are guessed.
    """
    name = name or _name(path)
    form = detect_format(path, name=name, columns=columns)
    if form in ARCHIVES and isinstance(path, Path):
        yield from _of_archive(path, form, name, columns)
    elif form == "text":
        yield from parse_text(path, name=name)
    elif form in _TABLE_PARSERS:
        yield from _TABLE_PARSERS[form](path, name=name, columns=columns)
    else:
        yield from _PARSERS[form](path)


def might_be_table(path: Path) -> bool:
    """Return whether a file's name is that of a table: only such files are worth opening to report their columns."""
    return _suffix(path.name) in _TABLES or path.name.startswith("stdin-")


def table_columns(path: Path, *, columns: Columns = GUESSED) -> Columns | None:
    """Return the columns of a table that are read; None if the file is not a table. Raises SourceError."""
    form = detect_format(path, columns=columns)
    if form not in _TABLE_PARSERS:
        return None
    try:
        return choose_columns(columns_of(path, form), columns)
    except RecordError as error:
        raise SourceError(str(error), path=path) from error


def detect_format(
    path: Input, *, expected: str = _EXPECTED, name: str | None = None, columns: Columns = GUESSED
) -> str:
    """Return the format of a file: a key of `_PARSERS`, such as `pubmed`, of `TABLES` or of `ARCHIVES`, or `text`.

    `expected` names the accepted formats, for the error message; the other arguments are those of `parse`. Raises
    SourceError if the file is empty, cannot be read, or is of another format.
    """
    form, start = _start(path, expected)
    if form:
        return form
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
        return _json_format(start, columns)
    lines = start.decode("utf-8", "replace").split("\n")
    if any(map(is_pubtator, lines)):
        return "pubtator"
    if any(map(is_medline, lines)):
        return "medline"
    suffix = _suffix(name or _name(path))
    if suffix in _CSV or _is_table(split_header(lines[0]), columns, surely=True):
        return "csv"
    if suffix in _TEXTS:
        return "text"
    what = start[:20].decode("utf-8", "backslashreplace")
    raise SourceError(f"starts with {what!r}; expected {expected}", path=path)


def _is_xml(start: bytes) -> bool:
    if encoding := _UTF16_XML.get(start[:2]):
        return start.decode(encoding, "replace").lstrip("\ufeff \t\r\n").startswith("<")
    return start.startswith(b"<")


def _json_format(start: bytes, columns: Columns) -> str:
    keys = first_keys(start)
    if "passages" not in keys and _is_table(keys, columns):
        return "json-lines"
    return "jsonl" if "document_id" in keys else "bioc-json"


def _is_table(names: list[str], columns: Columns, *, surely: bool = False) -> bool:
    """Return whether columns with these names hold documents, `surely` if an id is among them too."""
    try:
        choose_columns(names, columns, surely=surely)
    except RecordError:
        return False
    return len(names) > 1 or not surely


def _name(path: Input) -> str:
    return path.name


def _suffix(name: str) -> str:
    """Return the suffix of a file name, without that of a compression."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix


def _of_archive(path: Path, form: str, name: str, columns: Columns) -> Iterator[Record]:
    """Yield the records of all members, numbered consecutively; an unreadable or truncated member is a Failure."""
    number, documents = 0, 0
    for member in members(path, form):
        of_archive = f"{name}/{member.name}"
        try:
            if isinstance(member, MemberError):
                raise SourceError(str(member))
            for record in parse(member, name=of_archive, columns=columns):
                documents += not isinstance(record, Failure)
                yield _placed(record, number, member.name)
                number += 1
        except SourceError as error:
            yield Failure(number, member.name, error.in_file)
            number += 1
    if not number:
        raise SourceError("an archive without a file", path=path)
    if not documents:
        raise SourceError(f"no file of the archive holds a document ({number:,} failures)", path=path)


def _placed(record: Record, number: int, member: str) -> Record:
    """Return a record of a member as one of its archive."""
    if isinstance(record, Failure):
        return replace(record, record=number, position=f"{member}, {record.position}")
    return replace(record, record=number)


def _start(path: Input, expected: str) -> tuple[str | None, bytes]:
    """Return the first bytes of a file, after leading spaces; or its form if it is a container."""
    start = b""
    with open_source(path, expected=expected, containers=True) as source:
        try:
            for chunk in source.chunks():  # a chunk may be as small as a member of a gzip file
                if not start and (form := container(chunk)):
                    nested = isinstance(path, Member) and form in ARCHIVES
                    if nested or (source.packed and form != "tar"):
                        todo = "unpack it and give the files" if form in ARCHIVES else "decompress it"
                        raise SourceError(f"a {form} file within another; {todo}", path=path)
                    return form, b""
                start = (start + chunk).lstrip(_SPACE)
                if len(start) >= _START:
                    break
        except SourceError:
            if not start:
                raise
    if not start:
        raise SourceError(f"holds nothing but spaces; expected {expected}", path=path)
    return None, start
