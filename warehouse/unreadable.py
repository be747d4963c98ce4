"""Recognize errors of the system and of memory, which do not prove that a file is damaged.

Shared storage that does not answer, missing permissions, a process with too many open files and a lack of memory prove
nothing about the content of a file.
"""

from __future__ import annotations

import errno
import os

import duckdb

from e2emern.warehouse.wording import one_line

# DuckDB reports an error of the system only as text.
_REASONS = tuple(os.strerror(number) for number in errno.errorcode if number not in (errno.ENOENT, errno.ENOTDIR))


def unreadable(error: BaseException) -> str | None:
    """Return the reason if an error, or one that caused it, is of the system or of memory; else None.

    The errors "no such file" and "not a folder" do not count.
    """
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case FileNotFoundError() | NotADirectoryError():
                return None
            case OSError() if cause.errno:
                return os.strerror(cause.errno)
            case MemoryError() | duckdb.OutOfMemoryException():
                return one_line(cause)
            case duckdb.Error() if found := [reason for reason in _REASONS if reason in str(cause)]:
                return found[0]
        cause = cause.__cause__
    return None
