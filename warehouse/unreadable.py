"""Tell a file that cannot be read now from a damaged one.

Shared storage that does not answer, missing permissions, a process with too many open files and a lack of memory prove
nothing about the content of a file.
"""

from __future__ import annotations

import errno
import os

import duckdb

# DuckDB reports an error of the system only as text.
_REASONS = tuple(os.strerror(number) for number in errno.errorcode if number not in (errno.ENOENT, errno.ENOTDIR))


def is_unreadable(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, is of the system or of memory: the file may be sound.

    The errors "no such file" and "not a folder" do not count.
    """
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case FileNotFoundError() | NotADirectoryError():
                return False
            case MemoryError() | duckdb.OutOfMemoryException():
                return True
            case OSError() if cause.errno:
                return True
            case duckdb.Error() if any(reason in str(cause) for reason in _REASONS):
                return True
        cause = cause.__cause__
    return False
