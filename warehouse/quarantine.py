"""Keep what a repair takes away in `quarantine/`, under its path in the home, until it exists again.

A repair may misjudge a file, and a backup or a disk may come back, so nothing is deleted before it has been written
again. A second file with the same path gets a number as suffix.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from e2emern.warehouse.files import make_folder, sync
from e2emern.warehouse.layout import Home

_NUMBER = re.compile(r"~[0-9]+$")  # `file_name` escapes a tilde, so no other name ends like this


def quarantine(home: Home, path: Path) -> Path:
    """Move a file of the home into its quarantine, and return its new path. Raises OSError if it cannot be moved."""
    place = home.quarantine / path.relative_to(home.root)
    make_folder(place.parent)
    free, number = place, 1
    while free.is_symlink() or free.exists():
        number += 1
        free = place.with_name(f"{place.name}~{number}")
    shutil.move(path, free)
    sync(free.parent)
    sync(path.parent)
    return free


def quarantined(home: Home) -> dict[Path, list[Path]]:
    """Return the files in quarantine by the path that they had in the home, both absolute."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(home.quarantine.rglob("*")):
        if path.is_symlink() or path.is_file():
            relative = path.relative_to(home.quarantine)
            found.setdefault(home.root / relative.with_name(_NUMBER.sub("", relative.name)), []).append(path)
    return found


def made_again(home: Home) -> dict[Path, list[Path]]:
    """Return those files of `quarantined` whose path exists again as a regular file, not as a link."""
    return {path: kept for path, kept in quarantined(home).items() if path.is_file() and not path.is_symlink()}
