"""Keep what is piped into a command as a file of the home, so that it can be read like any other source."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.ingest.outcome import Limits
from e2emern.tasks.parsers import detect_format
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home

_LIMITS = Limits()
_PIECE = 1 << 18  # bytes


def keep_input(stream: BinaryIO, *, home: Home, limits: Limits = _LIMITS) -> Path:
    """Write a stream into the home's folder of inputs and return the file, which is named after its digest.

    The same content is one source, however often it is piped. Content of no known format is plain text. Raises
    InputError if the stream is empty, or exceeds a limit.
    """
    digest, size = hashlib.sha256(), 0
    waiting = home.inputs / ".stdin"
    with atomic_write(waiting) as file:
        while data := stream.read(_PIECE):
            size += len(data)
            if fault := limits.check(size, len(data), home.inputs):
                raise InputError(fault, path="standard input")
            digest.update(data)
            file.write(data)
        if not size:
            raise InputError("nothing on standard input")
    name = f"stdin-{digest.hexdigest()[:16]}"
    try:
        detect_format(waiting, name=name)
    except SourceError:
        name += ".txt"
    return waiting.rename(home.inputs / name)
