"""Errors of the tables. Each message is one line: what is wrong, in which file or record, and what to do."""

from __future__ import annotations


class WarehouseError(Exception):
    """A problem with a home or a query stops the work."""


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
