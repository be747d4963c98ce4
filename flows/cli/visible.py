"""Print foreign text with visible control characters.

All text that the command line prints passes through `VisibleStream`, except what `rich` renders, which passes through
`flows.cli.terminal.VisibleConsole`: its own control sequences have to reach the terminal.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from e2emern.flows.visible import visible


class VisibleStream:
    """A text stream that makes control characters visible, and prints `?` for characters that its encoding lacks.

    Bytes written to `buffer` are changed only on a terminal: a program must get the exact data.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, and return its length."""
        return self.stream.write(visible(text))

    def writelines(self, lines: Iterator[str]) -> None:
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        """The stream for bytes."""
        return _VisibleBytes(self) if self.stream.isatty() else self.stream.buffer


class _VisibleBytes(io.BufferedIOBase):
    """A binary stream that decodes UTF-8 and writes to a `VisibleStream`."""

    def __init__(self, stream: VisibleStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(self._decoder.decode(data))
        return len(data)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def visible_streams() -> Iterator[None]:
    """Make standard output and standard error visible streams for the block."""
    before = sys.stdout, sys.stderr
    try:
        sys.stdout, sys.stderr = (cast(TextIO, each and VisibleStream(each)) for each in before)
        yield
    finally:
        sys.stdout, sys.stderr = before
