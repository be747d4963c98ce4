"""Parse plain text and Markdown: a file is one document, which has the file's name as its id.

A passage is a run of lines without a blank line, at its own position in the file: offsets count the code points of the
file, without a byte order mark. In a passage a line end or another control character is one space. Markup is text,
except that a passage begins after the `#` of a heading. The first passage is the title if it is one line and others
follow.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from urllib.parse import quote

from e2emern.model.document import Document, Passage
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.foreign import not_utf8
from e2emern.tasks.parsers.source_reader import MAX_LINE, Input, open_source

LONGEST_TEXT = MAX_LINE  # bytes

_LONGEST_TITLE = 500  # characters
_LONGEST_ID = 200  # characters
_UNSAFE = re.compile(r"[\s|%\x00-\x1f\x7f-\x9f\ufffd]")  # cannot be in an id of PubTator text, or reads badly
_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)")
_CONTROL = re.compile(r"[\x01-\x1f\x7f-\x9f\u2028\u2029]")


def parse_text(path: Input, *, name: str) -> Iterator[Document]:
    """Yield the one document of a text.

    Raises SourceError if the file is longer than `LONGEST_TEXT`, not UTF-8, or holds a NUL, which no text has.
    """
    data = bytearray()
    with open_source(path, expected="plain text") as source:
        for chunk in source.chunks():
            data += chunk
            if len(data) > LONGEST_TEXT:
                raise SourceError(
                    f"a text of more than {LONGEST_TEXT:,} bytes; put each document into its own file or table row",
                    path=path,
                )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        begin = data.rfind(b"\n", 0, error.start) + 1
        line = bytes(data[begin:].split(b"\n", 1)[0])
        where = f"line {data.count(10, 0, error.start) + 1}"
        raise SourceError(not_utf8(line, error.start - begin), path=path, where=where) from error
    if (nul := text.find("\0")) >= 0:
        line_ends = text.count("\n", 0, nul)
        raise SourceError("a NUL character, so it is not text", path=path, where=f"line {line_ends + 1}")
    yield Document(document_id=id_of(name), record=0, passages=lay_out_text(text))


def lay_out_text(text: str) -> tuple[Passage, ...]:
    """Return the passages of a text, each at its position in it."""
    blocks = []
    for begin, end in _blocks(text):
        start = end - len(text[begin:end].lstrip())
        heading = _HEADING.match(text, start, end)
        start = heading.end() if heading else start
        blocks.append((start, text[start:end].rstrip()))
    titled = len(blocks) > 1 and "\n" not in blocks[0][1] and len(blocks[0][1]) <= _LONGEST_TITLE
    return tuple(
        Passage("title" if titled and not at else "abstract", start, flat(words))
        for at, (start, words) in enumerate(blocks)
    )


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of lines that are not blank."""
    at, begin = 0, None
    for line in text.split("\n"):
        if line.strip():
            begin = at if begin is None else begin
        elif begin is not None:
            yield begin, at
            begin = None
        at += len(line) + 1
    if begin is not None:
        yield begin, at - 1


def flat(text: str) -> str:
    """Return a text of the same length with a space for each line end, tab and other control character."""
    return _CONTROL.sub(" ", text)


def id_of(name: str) -> str:
    """Return the id of a document from the name of its file.

    No two names have one id: white space, `|`, `%` and control characters are percent-encoded, and a long name is cut
    and ends with a digest.
    """
    safe = _UNSAFE.sub(lambda found: quote(found[0], safe=""), name)
    if len(safe) <= _LONGEST_ID:
        return safe
    return f"{safe[: _LONGEST_ID - 17]}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
