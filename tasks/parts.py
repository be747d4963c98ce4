"""The parts of a large source: each is annotated by itself, and its file is kept until the whole source is done.

A part is whole chunks of documents, so its mentions are those of the unsplit source, and the files of the parts joined
are the file of the source, byte by byte. A kill loses only the parts that were in work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from e2emern.model.inference.timings import Report
from e2emern.tasks.documents import CHUNK_RECORDS
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.parquet import Rows, TableWriter, read_batches, read_metadata, verify_pages
from e2emern.warehouse.schemas import MENTIONS

PART: Final = 10_000
"""Documents of a part, by default; rounded up to whole chunks."""

_MOST_SHARES = 100  # runs for one source
_KEY = "e2emern.part"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Part:
    """The documents of a source from row `first` to row `stop` of its documents file, exclusive."""

    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    def __str__(self) -> str:
        return f"{self.first:09}-{self.stop:09}"

    def path(self, home: Home, key: SourceKey, versions: Versions) -> Path:
        """Path of the mentions of this part."""
        return home.parts(key, versions) / f"{self}.parquet"


@dataclass(frozen=True, slots=True)
class Block:
    """The rows and counts of consecutive documents."""

    mentions: Iterable[Rows]
    unread: Sequence[dict[str, Any]]  # rows of failures
    documents: int
    without_text: int
    carried: int


@dataclass(slots=True)
class Tally:
    """Running counts of the documents of a source, or of a part of one."""

    documents: int = 0
    without_text: int = 0
    carried: int = 0
    unread: int = 0  # documents that the model could not read
    concepts: set[str] = field(default_factory=set)

    def add(self, block: Block, *, mentions: TableWriter) -> None:
        """Append the mentions of a block to its file, and count its documents."""
        for rows in block.mentions:
            self.concepts.update(filter(None, mentions.append(rows)["mesh_id"].unique().to_pylist()))
        self.documents += block.documents
        self.without_text += block.without_text
        self.carried += block.carried
        self.unread += len(block.unread)


def cut_parts(documents: int, *, size: int) -> list[Part]:
    """Return the parts of a source with so many documents; each has `size` documents, rounded up to whole chunks."""
    step = -(-size // CHUNK_RECORDS) * CHUNK_RECORDS
    return [Part(first, min(first + step, documents)) for first in range(0, documents, step)]


def cut_shares(parts: Sequence[_T]) -> list[Sequence[_T]]:
    """Return the parts that each run of a source annotates: one part, or several if the source has very many."""
    shares = min(len(parts), _MOST_SHARES)
    return [parts[share::shares] for share in range(shares)]


def write_part(path: Path, blocks: Iterable[Block], *, report: Report) -> None:
    """Write the file of a part."""
    tally, unread = Tally(), list[dict[str, Any]]()
    with TableWriter(path, MENTIONS) as mentions:
        for block in blocks:
            with report.timed("write"):
                tally.add(block, mentions=mentions)
                unread += block.unread
        facts = {"documents": tally.documents, "without_text": tally.without_text, "carried": tally.carried}
        mentions.metadata[_KEY] = json.dumps(facts | {"unread": unread})


def read_part(path: Path) -> Block:
    """Return a part from its file, with mentions that are read later. Raises WarehouseError if it is damaged."""
    found = read_metadata(path).get(_KEY)
    if found is None:
        raise WarehouseError("is not a part of a source; delete it", path=path)
    return Block(mentions=read_batches(path), **json.loads(found))


def is_sound(path: Path) -> bool:
    """Return whether the file of a part exists and is as it was written. Raises OSError if it cannot be read now."""
    if not path.exists():
        return False
    try:
        read_part(path)
        verify_pages(path)
    except WarehouseError:
        return False
    return True
