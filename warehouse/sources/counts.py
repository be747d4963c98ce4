"""Record counts of one source: what its file held and what became of every record.

The counts are key-value metadata of the source's files: if a file exists, the work is done, and its counts say what was
done. The counts of parsing are in the documents file, those of one model in its mentions file. Apart from `carried`,
they do not depend on the time or the machine; durations belong to the record of the run (`warehouse.sources.runs`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from e2emern.warehouse.errors import CountMismatchError, WarehouseError
from e2emern.warehouse.files import revalidate
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.parquet import read_metadata

_PARSED_KEY = "e2emern.parsed"
_SOURCE_KEY = "e2emern.source"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """Record counts of one source. `documents` counts the rows of its documents file.

    `invalid_annotations` counts annotations and lines that could not be used; they are not records. `carried` counts
    the annotated documents whose mentions were reused from a source with the same text.
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
        """Number of documents that the model could not read; `failed` includes them."""
        return self.documents - self.annotated - self.without_text

    def check(self, *, source: str = "source") -> None:
        """Check that no record is lost or counted twice. Raises `CountMismatchError` with all counts."""
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
                f"{source}: found {self.carried} documents with reused mentions, expected at most "
                f"{self.annotated} annotated; annotate it again"
            )
        if not self.annotated + self.without_text <= self.documents <= self.parsed - self.deleted:
            raise CountMismatchError(
                f"{source}: found {self.documents} documents, expected at least {self.annotated} annotated + "
                f"{self.without_text} without text and at most {self.parsed} parsed - {self.deleted} deleted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """Counts and state of one source. `status` is damaged if only part of the file could be read; see `error`."""

    key: SourceKey
    format: str
    bytes: int
    counts: SourceCounts
    status: Literal["complete", "damaged"] = "complete"
    error: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Return the counts as metadata for `TableWriter`."""
        return {_SOURCE_KEY: json.dumps(asdict(self), sort_keys=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseSummary:
    """Counts and state of one source after parsing. `unusable` counts records that did not become documents."""

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
        """Return the counts as metadata for `TableWriter`."""
        return {_PARSED_KEY: json.dumps(asdict(self), sort_keys=True)}

    def annotated(self, *, without_text: int, unread: int, carried: int) -> SourceSummary:
        """Return the counts of the source after a model has read its documents."""
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
    """Return the counts in a mentions file. Raises `WarehouseError` if it has none."""
    fields = _read(path, _SOURCE_KEY)
    try:
        return SourceSummary(key=SourceKey(**fields.pop("key")), counts=SourceCounts(**fields.pop("counts")), **fields)
    except (TypeError, KeyError) as error:
        raise _malformed(path) from error


def read_parse_summary(path: Path) -> ParseSummary:
    """Return the counts of parsing in a documents file. Raises `WarehouseError` if it has none."""
    fields = _read(path, _PARSED_KEY)
    try:
        return ParseSummary(key=SourceKey(**fields.pop("key")), **fields)
    except (TypeError, KeyError) as error:
        raise _malformed(path) from error


def pending(home: Home, keys: Iterable[SourceKey], versions: Versions) -> list[SourceKey]:
    """Return the sources without a mentions file, in order and without duplicates."""
    done = finished(home, versions)
    return [key for key in dict.fromkeys(keys) if key.stem not in done]


def finished(home: Home, versions: Versions) -> frozenset[str]:
    """Return the stems of the sources with a mentions file, as this host sees them now."""
    folder = home.mentions_folder(versions)
    revalidate(folder)
    with suppress(FileNotFoundError):
        return frozenset(
            name.removesuffix(".parquet")
            for name in os.listdir(folder)  # noqa: PTH208 (a home has thousands, and paths are slow)
            if name.endswith(".parquet") and not name.startswith(".")
        )
    return frozenset()


def _read(path: Path, name: str) -> dict[str, Any]:
    text = read_metadata(path).get(name)
    if text is None:
        raise WarehouseError("has no record counts of its source; delete it and annotate the source again", path=path)
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise _malformed(path) from error
    if not isinstance(fields, dict):
        raise _malformed(path)
    return fields


def _malformed(path: Path) -> WarehouseError:
    return WarehouseError("has malformed record counts; delete it and annotate the source again", path=path)
