"""Errors a user can cause or mend; each message is one line that names the file."""

from __future__ import annotations


class InputError(Exception):
    """Something about the input stops the work; the message says what, where and what to do."""


class SourceError(InputError):
    """A whole source cannot be read, or not to its end: damaged, empty, of an unknown format, or hostile."""
