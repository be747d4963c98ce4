"""The corrections of a home: files that wait in a folder until a retraining has used them.

`consumed.json` has the digest of every file used by a retraining that has ended: its challenger was promoted or
refused, or there was nothing to learn. A file that has changed since is pending again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.layout import Home, digest_file


def correction_files(folder: Path) -> list[Path]:
    """Return the files of a folder of corrections, sorted by name, without hidden ones; none without the folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def pending_corrections(home: Home, folder: Path | None = None) -> dict[str, str]:
    """Return the files that no retraining has used, with their digests; by default of `corrections` of the home.

    Raises `WarehouseError` if the record of those used is damaged.
    """
    used = _consumed(home)
    found = {path.name: digest_file(path) for path in correction_files(folder or home.corrections)}
    return {name: digest for name, digest in found.items() if used.get(name) != digest}


def note_consumed(home: Home, files: Mapping[str, str]) -> None:
    """Record that a retraining has used these files, given with their digests, and has ended."""
    if any(_consumed(home).get(name) != digest for name, digest in files.items()):
        with atomic_write(_path(home)) as record:
            record.write(json.dumps(_consumed(home) | dict(files), indent=1, sort_keys=True).encode() + b"\n")


def _consumed(home: Home) -> dict[str, str]:
    path = _path(home)
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise WarehouseError("is damaged; delete it, and all corrections will be used again", path=path) from error


def _path(home: Home) -> Path:
    return home.root / "consumed.json"
