"""Parse BioC JSON, streamed document by document.

A file may hold one collection, several (one per line, or in a list), a list of documents, or lists of lists as in
LitCovid's dump. Objects in such lists that are not documents, such as that dump's notices, are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import DecimalException

import ijson

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.bioc_document import read_document
from e2emern.tasks.parsers.records import Record
from e2emern.tasks.parsers.source_reader import Input, open_source

MAX_DEPTH = 64
MAX_VALUES = 20_000_000  # JSON values of one document
MAX_STRING = 64 * 1024 * 1024  # bytes

_LISTS = ("documents", "PubTator3")  # keys of lists of documents

# An escape: one that the end of a piece may have cut, a surrogate pair, half of one, or any other.
_ESCAPE = re.compile(
    rb"(?P<cut>\\[\\u0-9a-fA-F]{0,10}\Z)"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)
_REPLACEMENTS = {"cut": b"", "half": rb"\ufffd"}
_SUSPECT = re.compile(rb"\\(?:u[dD][89a-fA-F]|[\\u0-9a-fA-F]{0,10}\Z)")  # few pieces of a file have one


def parse_bioc_json(path: Input) -> Iterator[Record]:
    """Yield the records of a BioC JSON file in order, each a Document or a Failure (`read_document`).

    Raises SourceError if the file cannot be read to its end, after the records that precede the damage, and if it
    holds no BioC documents.
    """
    for record, raw in enumerate(_documents(path)):
        yield from read_document(raw, record, f"document {record + 1}")


def _documents(path: Input) -> Iterator[object]:
    # Fed piece by piece: ijson's own generators drop the events of a piece that ends in damage.
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, multiple_values=True, use_float=True)
    walk = _Walk(path)
    size = quiet = 0  # bytes read, and bytes since the last event
    with open_source(path) as source:
        for chunk in _without_halves(source.chunks()):
            damage = None
            try:
                parser.send(chunk.removeprefix(b"\xef\xbb\xbf") if size == 0 else chunk)
            except (ijson.JSONError, ValueError, DecimalException, StopIteration) as error:
                damage = error
            size += len(chunk)
            quiet = 0 if events else quiet + len(chunk)
            if quiet > MAX_STRING:
                raise SourceError(f"JSON with a string of more than {MAX_STRING:,} bytes; expected BioC", path=path)
            for event, value in events:
                yield from walk.take(event, value)
            del events[:]
            if damage is not None:
                raise _damaged(path, size, damage) from damage
    try:
        parser.close()
    except (ijson.JSONError, ValueError) as error:
        raise _damaged(path, size, error) from error
    if not walk.found:
        raise SourceError("JSON without BioC documents; expected objects with 'passages'", path=path)


def _without_halves(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Replace each escaped half of a surrogate pair by U+FFFD, which keeps offsets.

    YAJL would make one character of two, or invalid UTF-8, which loses the rest of the file.
    """
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        repaired = _ESCAPE.sub(_replacement, text) if _SUSPECT.search(text) else text
        rest = text[len(repaired) :]  # replacements have the same length
        if repaired:
            yield repaired
    if rest:
        yield rest


def _replacement(escape: re.Match[bytes]) -> bytes:
    return _REPLACEMENTS.get(escape.lastgroup or "", escape[0])


def _damaged(path: Input, size: int, error: Exception) -> SourceError:
    first = error.args[0] if error.args else ""
    reason = (first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)).partition("\n")[0]
    todo = "convert it to UTF-8, or download it again" if "UTF8" in reason else "download the file again"
    return SourceError(f"not well-formed JSON ({reason}); {todo}", path=path, where=f"in the bytes up to {size:,}")


@dataclass(slots=True)
class _Frame:
    """An open list or object that is not itself part of a document's content."""

    kind: str  # list or object
    is_documents: bool = False  # a list whose every element is a document
    key: str = ""
    content: dict[str, object] = field(default_factory=dict)
    holds_documents: bool = False  # an object that turned out to be a collection

    @property
    def is_open_list(self) -> bool:
        return self.kind == "list" and not self.is_documents


class _Walk:
    """Cut a stream of JSON events into documents."""

    def __init__(self, path: Input) -> None:
        self.found = False  # whether anything looked like BioC
        self._path = path
        self._frames: list[_Frame] = []
        self._builder: ijson.ObjectBuilder | None = None  # of one list or object inside a frame
        self._depth = 0  # of the value under construction
        self._values = 0  # of the outermost object so far

    def take(self, event: str, value: object) -> Iterator[object]:
        """Take one event; yield the document that it completes."""
        top = self._frames[-1] if self._frames else None
        self._bound()
        if self._builder is not None:
            self._builder.event(event, value)
            self._depth += event.startswith("start_") - event.startswith("end_")
            if self._depth == 0:
                value, self._builder = self._builder.value, None
                yield from self._put(value)
        elif event == "start_array" and (top is None or top.is_open_list or top.key in _LISTS):
            if top is not None and top.kind == "object":
                top.holds_documents = self.found = True
            self._frames.append(_Frame("list", is_documents=top is not None and top.key == "documents"))
        elif event == "start_map" and (top is None or top.kind == "list"):
            self._frames.append(_Frame("object"))
        elif event in ("start_array", "start_map"):
            self._builder, self._depth = ijson.ObjectBuilder(), 1
            self._builder.event(event, value)
        elif event == "end_array":
            self._frames.pop()
        elif event == "end_map":
            frame = self._frames.pop()
            parent = self._frames[-1] if self._frames else None
            self._values = 0
            if not frame.holds_documents and (
                (parent is not None and parent.is_documents) or not {"passages", "id"}.isdisjoint(frame.content)
            ):
                self.found = True
                yield frame.content
        elif event == "map_key" and top is not None:
            top.key = str(value)
        else:
            yield from self._put(value)

    def _put(self, value: object) -> Iterator[object]:
        """Keep a value of an object; yield a value in the position of a document."""
        top = self._frames[-1] if self._frames else None
        if top is not None and top.kind == "object":
            top.content[top.key] = value
        elif top is not None and top.is_documents:
            yield value

    def _bound(self) -> None:
        self._values += 1
        if len(self._frames) + self._depth > MAX_DEPTH:
            raise SourceError(f"JSON nested deeper than {MAX_DEPTH}; expected BioC", path=self._path)
        if self._values > MAX_VALUES:
            raise SourceError(
                f"JSON object of more than {MAX_VALUES:,} values; expected BioC documents", path=self._path
            )
