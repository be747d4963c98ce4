"""Parse tables of replaced identifiers: on each line, an old identifier and the current one.

MeSH often gives a descriptor to a substance or disease that was a supplementary record, and deletes the record.
Corpora and stored tables still hold the old identifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.parsers.source_reader import open_source

_COLUMNS = ["old_id", "new_id"]


def is_replaced(line: str) -> bool:
    """Return whether a line is the header of a table of replaced identifiers."""
    return line.rstrip("\r\n").split("\t")[:2] == _COLUMNS


def parse_replaced(path: Path) -> Iterator[tuple[int, str, str] | Failure]:
    """Yield line, old and new identifier of each row; further columns are ignored.

    Yield a Failure for a row without both. Raises SourceError if the file cannot be read to its end.
    """
    record = -1
    with open_source(path) as source:
        for line, text in source.lines():
            cells = text.removeprefix("\ufeff").rstrip("\r\n").split("\t")
            if not text.strip() or cells[:2] == _COLUMNS:
                continue
            record += 1
            old, new = (cell.strip() for cell in [*cells, ""][:2])
            if old and new and old != new:
                yield line, old, new
            else:
                yield Failure(record, f"line {line}", "expected two different identifiers", old[:100] or None)
