"""The format of a home: `format.json`, written before anything else, and checked by every command that opens a home.

The format covers the names of files, the columns of tables, run records, and the records of models, evaluations and
rollbacks. What a parser makes of a dump file is versioned separately, in the digest of each source.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Final

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write, make_folder
from e2emern.warehouse.layout import Home

FORMAT: Final = 3
"""Increase it when this release cannot use homes of the previous release, or the previous release those of this one."""

_MADE = ("documents", "mentions", "runs", "snapshots", "entities", "models", "evaluations")
"""What makes a folder a home. Dump files and caches do not: they may come before the first run."""


class FormatError(WarehouseError):
    """The format of a home is not that of this release, or cannot be read; `code` is the doctor's code, if any."""

    def __init__(self, reason: str, *, path: Path, code: str | None = None) -> None:
        super().__init__(f"{reason} (e2emern doctor: {code})" if code else reason, path=path)
        self.code = code


def open_home(root: Path) -> Home:
    """Return the home in a folder, which need not exist yet. Raises what `check_format` and `Home` raise."""
    home = Home(root)
    check_format(home)
    return home


def make_home(home: Home) -> None:
    """Create the folder and its `format.json`, or check the format of a home.

    Raises `FormatError` for a home of another format, and OSError if the folder cannot be used.
    """
    make_folder(home.root)
    check_format(home)
    if not home.format.exists():
        try:
            write_format(home)
        except OSError as error:
            error.filename = error.filename or str(home.format)
            raise


def write_format(home: Home) -> None:
    """Write `format.json`. It holds the format twice, so that a changed bit is detected."""
    content = {"home": f"e2emern/{FORMAT}", "format": FORMAT, "made_by": f"e2emern {version('e2emern')}"}
    with atomic_write(home.format) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


def check_format(home: Home) -> None:
    """Check that a home has the format of this release; an empty folder passes.

    Raises `FormatError` with what to do, and OSError for a file that cannot be read now.
    """
    used = is_used(home)  # before the file is read: another process may be making the home
    found = _read(home)
    if found is None and used:
        raise FormatError(
            "has no format.json: an older release made this home, or the file was lost; annotate its dump files into a "
            "new home",
            path=home.root,
            code="no-format",
        )
    if found is not None and found != FORMAT:
        age, advice = ("newer", "update e2emern") if found > FORMAT else ("older", "annotate its dump files again")
        raise FormatError(
            f"has format {found}, of {age} releases; this one reads {FORMAT}: {advice}, or use another home",
            path=home.root,
        )


def is_used(home: Home) -> bool:
    """Return whether a folder holds anything of a home that cannot be recreated."""
    return home.warehouse.is_symlink() or any(map(_has_entries, (home.root / name for name in _MADE)))


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(".") for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _read(home: Home) -> int | None:
    """Return the format of a home, None without `format.json`. Raises `FormatError` if the file is damaged."""
    try:
        fields = json.loads(home.format.read_bytes())
        found, again = int(fields["format"]), str(fields["home"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(home) from error
    if again != f"e2emern/{found}":
        raise _damaged(home)
    return found


def _damaged(home: Home) -> FormatError:
    return FormatError("is damaged; restore it from a backup", path=home.format, code="damaged-format")
