"""Errors of the tables; each message is one line that says what, where and what to do."""

from __future__ import annotations


class WarehouseError(Exception):
    """Something about a home or a query stops the work."""


class NameRefusedError(WarehouseError):
    """A name cannot become the name of a file."""


class SchemaMismatchError(WarehouseError):
    """Rows do not fit the columns of their table."""


class CountMismatchError(WarehouseError):
    """The counts of a source do not add up, or differ from the rows in its files."""


class PublishRefusedError(WarehouseError):
    """A snapshot would not be true; nothing was published."""


class OvertakenError(PublishRefusedError):
    """Another snapshot is shown than the one that was to be replaced; nothing was published."""


class QueryRefusedError(WarehouseError):
    """A query is wrong, forbidden, or exceeds a limit."""
