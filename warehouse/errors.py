"""Errors of the tables, and the base class of all errors that a user can cause or fix.

    Error
      WarehouseError            a problem with a home or a query stops the work
        NoSnapshotError         nothing was published yet
        NameRefusedError        a name cannot be used as a file name
        SchemaMismatchError     rows do not fit the columns of their table
        CountMismatchError      the counts of a source do not add up, or differ from the rows in its files
        PublishRefusedError     a snapshot failed its checks; nothing was published
          OvertakenError        the snapshot to replace is no longer current
        QueryRefusedError       a query is wrong, forbidden, or exceeds a limit

A message is one line: what is wrong, in which file or record, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class Error(Exception):
    """The work cannot be done as asked; the message says in one line what is wrong and what to do."""


class WarehouseError(Error):
    """A problem with a home or a query stops the work; the message is `path reason`.

    Attributes:
        reason: what is wrong with the file or folder, and the remedy.
        path: the file or folder; None if the reason names it or there is none.
    """

    def __init__(self, reason: str, *, path: Path | None = None) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path} {self.reason}"


class NoSnapshotError(WarehouseError):
    """Nothing was published yet in the home at `root`."""

    def __init__(self, root: Path) -> None:
        super().__init__("has no snapshot yet; annotate something into it first", path=root)


class NameRefusedError(WarehouseError):
    """A name cannot be used as a file name."""


class SchemaMismatchError(WarehouseError):
    """Rows do not fit the columns of their table."""


class CountMismatchError(WarehouseError):
    """The counts of a source do not add up, or differ from the rows in its files."""


class PublishRefusedError(WarehouseError):
    """A snapshot failed its checks; nothing was published."""


class OvertakenError(PublishRefusedError):
    """The snapshot to replace is no longer current; nothing was published."""


class QueryRefusedError(WarehouseError):
    """A query is wrong, forbidden, or exceeds a limit."""
