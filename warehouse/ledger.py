"""The books of one source: what its file held and what became of every record.

They stand as key-value metadata in the source's documents and mentions files: the file's presence says that
the work is done, and the books in it say what was done. Nothing in them depends on when or where it was done;
seconds belong to the record of the run (`warehouse.runs`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from warehouse.errors import UnbalancedError, WarehouseError
from warehouse.layout import Home, SourceKey
from warehouse.parquet import read_metadata

_METADATA_KEY = "e2emern.source"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """Records of one source. `documents` counts the rows of its documents file.

    `misfits` are annotations that the source itself carries and that do not fit its text: rows of failures too, but no
    records. `carried` are those of the annotated whose mentions were carried over from a source with the same text.
    """

    parsed: int
    documents: int
    annotated: int
    without_text: int
    failed: int
    deleted: int
    misfits: int = 0
    carried: int = 0

    @property
    def unread(self) -> int:
        """Documents that the model could not read; they are among the failed."""
        return self.documents - self.annotated - self.without_text

    def check(self, *, source: str = "source") -> None:
        """Checks that no record is lost or counted twice. Raises `UnbalancedError` with all counts."""
        if min(asdict(self).values()) < 0:
            raise UnbalancedError(f"{source}: a count is negative: {self}; report this, it is a defect")
        kept = self.annotated + self.without_text + self.failed + self.deleted
        if self.parsed != kept:
            raise UnbalancedError(
                f"{source}: parsed {self.parsed} records, but {self.annotated} annotated + {self.without_text} without "
                f"text + {self.failed} failed + {self.deleted} deleted = {kept}; annotate it again"
            )
        if self.carried > self.annotated:
            raise UnbalancedError(
                f"{source}: found {self.carried} documents with mentions carried over, expected at most "
                f"{self.annotated} annotated; annotate it again"
            )
        if not self.annotated + self.without_text <= self.documents <= self.parsed - self.deleted:
            raise UnbalancedError(
                f"{source}: found {self.documents} documents, expected at least {self.annotated} annotated + "
                f"{self.without_text} without text and at most {self.parsed} parsed - {self.deleted} deleted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBooks:
    """What is known of one source. `status` is damaged when only a part of the file could be read; see `error`."""

    key: SourceKey
    format: str
    bytes: int
    counts: SourceCounts
    status: Literal["complete", "damaged"] = "complete"
    error: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Returns the books as metadata for `TableWriter`."""
        return {_METADATA_KEY: json.dumps(asdict(self), sort_keys=True)}


def read_books(path: Path) -> SourceBooks:
    """Returns the books in a documents or mentions file. Raises `WarehouseError` when there are none."""
    text = read_metadata(path).get(_METADATA_KEY)
    if text is None:
        raise WarehouseError(f"{path} has no books of its source; delete it and annotate the source again")
    try:
        fields: dict[str, Any] = json.loads(text)
        key, counts = SourceKey(**fields.pop("key")), SourceCounts(**fields.pop("counts"))
        return SourceBooks(key=key, counts=counts, **fields)
    except (ValueError, TypeError, KeyError) as error:
        raise WarehouseError(f"{path} has books of another form; delete it and annotate the source again") from error


def pending(home: Home, keys: Iterable[SourceKey], *, model_version: str, mesh_version: str) -> list[SourceKey]:
    """Returns those sources, in order and once each, whose mentions file is not there."""
    folder = home.mentions_folder(model_version=model_version, mesh_version=mesh_version)
    done = {path.name for path in folder.glob("*.parquet")}
    return [key for key in dict.fromkeys(keys) if f"{key.stem}.parquet" not in done]
