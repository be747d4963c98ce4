"""The books of one source: what its file held and what became of every record.

They stand as key-value metadata in the source's files: the file's presence says that the work is done, and the books
in it say what was done. Those of parsing are in the documents file, those of one model in its mentions file. But for
`carried`, nothing in them depends on when or where it was done; seconds belong to the record of the run
(`warehouse.sources.runs`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from warehouse.errors import CountMismatchError, WarehouseError
from warehouse.layout import Home, SourceKey
from warehouse.parquet import read_metadata

_PARSED_KEY = "e2emern.parsed"
_SOURCE_KEY = "e2emern.source"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """Records of one source. `documents` counts the rows of its documents file.

    `invalid_annotations` are annotations and lines of its documents that could not be used: no records. `carried` are
    those of the annotated whose mentions were carried over from a source with the same text.
    """

    parsed: int
    documents: int
    annotated: int
    without_text: int
    failed: int
    deleted: int
    invalid_annotations: int = 0
    carried: int = 0

    @property
    def unread(self) -> int:
        """Documents that the model could not read; they are among the failed."""
        return self.documents - self.annotated - self.without_text

    def check(self, *, source: str = "source") -> None:
        """Checks that no record is lost or counted twice. Raises `CountMismatchError` with all counts."""
        if min(asdict(self).values()) < 0:
            raise CountMismatchError(f"{source}: a count is negative: {self}; report this, it is a defect")
        kept = self.annotated + self.without_text + self.failed + self.deleted
        if self.parsed != kept:
            raise CountMismatchError(
                f"{source}: parsed {self.parsed} records, but {self.annotated} annotated + {self.without_text} without "
                f"text + {self.failed} failed + {self.deleted} deleted = {kept}; annotate it again"
            )
        if self.carried > self.annotated:
            raise CountMismatchError(
                f"{source}: found {self.carried} documents with mentions carried over, expected at most "
                f"{self.annotated} annotated; annotate it again"
            )
        if not self.annotated + self.without_text <= self.documents <= self.parsed - self.deleted:
            raise CountMismatchError(
                f"{source}: found {self.documents} documents, expected at least {self.annotated} annotated + "
                f"{self.without_text} without text and at most {self.parsed} parsed - {self.deleted} deleted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """What is known of one source. `status` is damaged when only a part of the file could be read; see `error`."""

    key: SourceKey
    format: str
    bytes: int
    counts: SourceCounts
    status: Literal["complete", "damaged"] = "complete"
    error: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Returns the books as metadata for `TableWriter`."""
        return {_SOURCE_KEY: json.dumps(asdict(self), sort_keys=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseSummary:
    """What parsing found in one source. `unusable` are records that never became documents."""

    key: SourceKey
    format: str
    bytes: int
    documents: int
    unusable: int
    deleted: int
    invalid_annotations: int
    status: Literal["complete", "damaged"] = "complete"
    error: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Returns the books as metadata for `TableWriter`."""
        return {_PARSED_KEY: json.dumps(asdict(self), sort_keys=True)}

    def annotated(self, *, without_text: int, unread: int, carried: int) -> SourceSummary:
        """Returns the books of the source after a model has read its documents."""
        counts = SourceCounts(
            parsed=self.documents + self.unusable + self.deleted,
            documents=self.documents,
            annotated=self.documents - without_text - unread,
            without_text=without_text,
            failed=self.unusable + unread,
            deleted=self.deleted,
            invalid_annotations=self.invalid_annotations,
            carried=carried,
        )
        return SourceSummary(
            key=self.key, format=self.format, bytes=self.bytes, counts=counts, status=self.status, error=self.error
        )


def read_source_summary(path: Path) -> SourceSummary:
    """Returns the books in a mentions file. Raises `WarehouseError` when there are none."""
    fields = _read(path, _SOURCE_KEY)
    try:
        return SourceSummary(key=SourceKey(**fields.pop("key")), counts=SourceCounts(**fields.pop("counts")), **fields)
    except (TypeError, KeyError) as error:
        raise _of_another_form(path) from error


def read_parse_summary(path: Path) -> ParseSummary:
    """Returns the books of parsing in a documents file. Raises `WarehouseError` when there are none."""
    fields = _read(path, _PARSED_KEY)
    try:
        return ParseSummary(key=SourceKey(**fields.pop("key")), **fields)
    except (TypeError, KeyError) as error:
        raise _of_another_form(path) from error


def pending(home: Home, keys: Iterable[SourceKey], *, model_version: str, mesh_version: str) -> list[SourceKey]:
    """Returns those sources, in order and once each, whose mentions file is not there."""
    folder = home.mentions_folder(model_version=model_version, mesh_version=mesh_version)
    done = {path.name for path in folder.glob("*.parquet")}
    return [key for key in dict.fromkeys(keys) if f"{key.stem}.parquet" not in done]


def _read(path: Path, name: str) -> dict[str, Any]:
    text = read_metadata(path).get(name)
    if text is None:
        raise WarehouseError(f"{path} has no books of its source; delete it and annotate the source again")
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise _of_another_form(path) from error
    if not isinstance(fields, dict):
        raise _of_another_form(path)
    return fields


def _of_another_form(path: Path) -> WarehouseError:
    return WarehouseError(f"{path} has books of another form; delete it and annotate the source again")
