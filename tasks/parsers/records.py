"""The records that parsers yield: a document, a deletion, or a failure with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from e2emern.model.document import Document


@dataclass(frozen=True, slots=True)
class Deletion:
    """A PMID that its source deletes (PubMed `DeleteCitation`): one version, or all if `version` is None."""

    record: int
    pmid: int
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that could not be used. `position` is a line, a byte or an element's line number."""

    record: int
    position: str
    reason: str
    document_id: str | None = None


class RecordError(ValueError):
    """A record that cannot be used; its parser turns it into a Failure with this message as the reason."""


Record = Document | Deletion | Failure
