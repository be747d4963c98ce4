"""Provide the bytes of an XML source in pieces that never cross the end of one of its documents.

A source may hold several XML documents, one after another: files joined by `cat`, or answers of E-utilities appended
to one file. An XML parser takes one document, so each of them needs its own parser.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import chain

from e2emern.tasks.parsers.source_reader import SourceReader

_PIECE = 16 * 1024  # bytes; larger trees are freed to the system and allocated again each time, which is slow
_BETWEEN = b" \t\r\n" + codecs.BOM_UTF8  # the bytes of a byte order mark cannot occur elsewhere here
_SKIPPED = ((b"<!--", b"-->"), (b"<?", b"?>"))
_DECLARATION = re.compile(rb"<\?xml[ \t\r\n]")
_UTF16 = {
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
_FORBIDDEN = "forbidden in XML"  # an error handler: U+FFFE makes the parser refuse the document at that place


class XmlInput:
    """The bytes of a source that no parser has been given yet.

    `lines` counts the line ends before the next document. Those between documents are counted here; those in a document
    are counted by its parser and added by the caller. UTF-16 is returned as UTF-8, with `encoding` for the parser; any
    other encoding is returned as it is.
    """

    def __init__(self, source: SourceReader) -> None:
        self.waiting = b""  # read, not yet taken
        self.lines = 0
        self.encoding: str | None = None  # which overrides what the document declares
        self._chunks = iter(lambda: source.read(_PIECE), b"")
        while len(self.waiting) < 2 and self.fill():
            pass
        if found := _UTF16.get(self.waiting[:2]):
            self._chunks = _transcoded(chain([self.waiting], self._chunks), found)
            self.waiting, self.encoding = b"", "utf-8"

    def fill(self) -> bool:
        """Read more of the source; False at its end. Raises SourceError as the source does."""
        chunk = next(self._chunks, b"")
        self.waiting += chunk
        return bool(chunk)

    def take(self, size: int) -> bytes:
        """Take the next bytes, at most `size` of them."""
        taken, self.waiting = self.waiting[:size], self.waiting[size:]
        return taken

    def to_document(self) -> bool:
        """Move to the next XML document, past white space, byte order marks, comments and processing instructions.

        False at the end of the source; True, too, if the source ends within such a comment or instruction.
        """
        while True:
            self._skip(len(self.waiting) - len(self.waiting.lstrip(_BETWEEN)))
            while len(self.waiting) < len("<?xml ") and self.fill():
                pass
            if self.waiting[:1] in _BETWEEN:  # empty, too
                if not self.waiting:
                    return False
                continue
            for start, end in _SKIPPED:
                if self.waiting.startswith(start) and not _DECLARATION.match(self.waiting):
                    if not self._skip_past(end):
                        return True
                    break
            else:
                return True

    def take_up_to(self, end_tag: bytes) -> bytes:
        """Take the next bytes, at most to where the first `end_tag` ends; empty at the end of the source.

        `end_tag` is without its `>`: `</PubmedArticleSet`. Only the parser knows whether it ends the root element, or
        is in a comment or a CDATA section.
        """
        while True:
            at = self.waiting.find(end_tag)
            end = self.waiting.find(b">", at) if at >= 0 else -1
            if end >= 0:
                return self.take(end + 1)
            if at < 0:  # its start may be at the end of the available bytes
                at = self.waiting.rfind(b"<", max(0, len(self.waiting) - len(end_tag)))
                if at < 0 or not end_tag.startswith(self.waiting[at:]):
                    at = len(self.waiting)
            elif len(self.waiting) - at > _PIECE:  # far too long for a tag
                at += len(end_tag)
            if at > 0:
                return self.take(at)
            if not self.fill():
                return self.take(len(self.waiting))

    def _skip_past(self, end: bytes) -> bool:
        while (at := self.waiting.find(end)) < 0:
            self._skip(max(0, len(self.waiting) - len(end) + 1))
            if not self.fill():
                self._skip(len(self.waiting))
                return False
        self._skip(at + len(end))
        return True

    def _skip(self, size: int) -> None:
        self.lines += self.take(size).count(b"\n")


def _transcoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Convert UTF-16 to UTF-8; `_FORBIDDEN` marks invalid UTF-16."""
    decoder = codecs.getincrementaldecoder(encoding)(_FORBIDDEN)
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text.encode()
    yield decoder.decode(b"", final=True).encode()


codecs.register_error(_FORBIDDEN, lambda error: ("\ufffe", error.end))  # type: ignore[attr-defined]  # UnicodeError has no `end` in typeshed
