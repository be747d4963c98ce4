"""Model registry of a home: its models, and the champion, which annotates by default.

A model is a folder, `models/<version>/`, added atomically and never changed. `models/champion.json` lists every
promotion and rollback, and its last entry names the champion. Pointer and history are one file, replaced atomically, so
that they cannot disagree.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write, locked, sync
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home, file_name
from e2emern.warehouse.login import login
from e2emern.warehouse.sealed import seal, unseal

_CURVE = "dev.jsonl"
_KEPT = frozenset({".json", ".jsonl", ".md", ".model", ".safetensors", ".toml", ".txt"})
_ADDED = "added.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the champion. `when` is ISO 8601 in UTC, `by` a login name; version None is the bundled model.

    Attributes:
        evaluation: the one that passed the gate; None for a promotion without one, or a rollback.
    """

    left: str | None
    champion: str | None
    when: str
    by: str
    why: str | None = None
    evaluation: str | None = None
    rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """A model of the home.

    `added` is ISO 8601 in UTC, `by` a login name, `files` the size of each file in bytes, `sha256` the digest in hex
    that each file had when the model was added.
    """

    version: str
    folder: Path
    added: str
    by: str
    files: Mapping[str, int]
    sha256: Mapping[str, str]

    def read(self, name: str) -> Any:
        """Return the content of a JSON file of the model, None if absent. Raises `WarehouseError` if it is damaged."""
        return _read_json(self.folder / name)


def add_model(home: Home, folder: Path, *, version: str) -> KeptModel:
    """Copy a model folder into the home under its version, unless it is there already, and return the model.

    Raises `WarehouseError` if `folder` is not a folder, or the home has this version with other files.
    """
    if not folder.is_dir():
        raise WarehouseError("is not a folder; expected a model folder", path=folder)
    make_home(home)
    place = home.model(version)
    with locked(_lock_file(home)):
        for left in place.parent.glob(".adding-*"):  # of killed processes: this one holds the lock
            shutil.rmtree(left)
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix in _KEPT]
        found = {file.name: _digest(file) for file in files if file.name != _ADDED}
        if place.exists():
            check_files(place)
            if differ := [name for name, _ in found.items() ^ get_model(home, version).sha256.items()]:
                raise WarehouseError(
                    f"{home.root} has model {version} with a different {min(differ)}; nothing was added: remove the "
                    "difference from the folder"
                )
        else:
            staged = place.with_name(f".adding-{place.name}")
            staged.mkdir()
            for name in found:
                shutil.copyfile(folder / name, staged / name)
                sync(staged / name)
            with atomic_write(staged / _ADDED) as record:
                record.write(seal({"added": _now(), "by": login(), "digests": found}))
            check_files(staged)
            staged.rename(place)
            sync(place.parent)
    return get_model(home, version)


def remove_model(home: Home, version: str) -> None:
    """Delete a model of a home. Raises `WarehouseError` if it is or was the champion."""
    with locked(_lock_file(home)):
        if any(version in (change.champion, change.left) for change in changes(home)):
            raise WarehouseError(f"model {version} is or was the champion, and is kept", path=home.root)
        place = home.model(version)
        leaving = place.with_name(f".removing-{place.name}")
        for left in place.parent.glob(".removing-*"):  # of killed processes: this one holds the lock
            shutil.rmtree(left)
        if place.exists():
            place.rename(leaving)  # it is gone as a whole, or not at all
            shutil.rmtree(leaving)


def models(home: Home) -> list[KeptModel]:
    """Return the models of a home in the order in which they were added."""
    folders = home.model("any").parent.glob("[!.]*/")
    found = (_read_model(folder) for folder in folders if (folder / _ADDED).exists())
    return sorted(found, key=lambda one: (one.added, one.version))


def get_model(home: Home, version: str) -> KeptModel:
    """Return a model of a home. Raises `WarehouseError` if it does not exist."""
    folder = home.model(version)
    if not (folder / _ADDED).exists():
        known = ", ".join(one.version for one in models(home)) or "none"
        raise WarehouseError(f"has no model {version}; found {known} (e2emern models list)", path=home.root)
    return _read_model(folder)


def learning_curve(folder: Path) -> list[dict[str, Any]]:
    """Return the scores on dev after each epoch (epoch, precision, recall, f1) of a model folder; none if absent.

    Raises `WarehouseError` if the file is damaged.
    """
    return read_curve(folder / _CURVE)


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a learning curve; none if the file is absent. Raises `WarehouseError` if it is damaged."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except ValueError as error:
        raise WarehouseError(f"is damaged: {error}; restore it (e2emern doctor: damaged-model)", path=path) from error


def check_files(folder: Path) -> None:
    """Check that the files of a model in a home are those that were added; do nothing for any other folder.

    Raises `WarehouseError` with the first file that differs, `OSError` for a file that cannot be read now.
    """
    if not (folder / _ADDED).exists():
        return
    recorded = _read_model(folder).sha256
    found = {file.name for file in folder.iterdir() if file.suffix in _KEPT and file.name != _ADDED}
    for name in sorted(found | recorded.keys()):
        path = folder / name
        if name not in found or _digest(path) != recorded.get(name):
            raise WarehouseError(
                "is not the file that was added; restore it (e2emern doctor: damaged-model)", path=path
            )


def check_kept(folder: Path, *, version: str) -> None:
    """Check the files of a model in a home (`check_files`), and that the folder is named after its computed version.

    Does nothing for any other folder. Raises `WarehouseError`.
    """
    check_files(folder)
    if (folder / _ADDED).exists() and folder.name != file_name(version):
        raise WarehouseError(
            f"{folder} holds model {version}; move it away and add that model (e2emern doctor: damaged-model)"
        )


def champion(home: Home) -> str | None:
    """Return the version that annotates if no model is named; None for the bundled model.

    Raises `WarehouseError` if the history is damaged.
    """
    return history[-1].champion if (history := changes(home)) else None


def changes(home: Home) -> list[Change]:
    """Return all promotions and rollbacks, oldest first. Raises `WarehouseError` if the history is damaged."""
    path = _history(home)
    try:
        return [Change(**fields) for fields in unseal(path.read_bytes())["changes"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise WarehouseError(
            "is not a valid champion history; restore it from a backup (e2emern doctor: damaged-champion)", path=path
        ) from error


def promote(
    home: Home, version: str, *, over: str | None, why: str | None = None, evaluation: str | None = None
) -> Change:
    """Make a model of the home the champion, atomically, if `over` is still the champion.

    Raises `WarehouseError` if the home has no such model, it is the champion already, or the champion is not `over`.
    """
    get_model(home, version)
    with locked(_lock_file(home)):
        now = champion(home)
        if now == version:
            raise WarehouseError(f"model {version} is the champion already; nothing was changed")
        if now != over:
            raise WarehouseError(
                f"the champion is {_label(now)} by now, but model {version} was compared with {_label(over)}; "
                "compare them again"
            )
        return _change(
            home, Change(left=now, champion=version, when=_now(), by=login(), why=why, evaluation=evaluation)
        )


def roll_back_model(home: Home, *, why: str | None = None) -> Change:
    """Roll back to the previous champion; repeat to go further back.

    Raises `WarehouseError` if no promotion is left to undo, or the previous champion does not exist any more.
    """
    with locked(_lock_file(home)):
        stack: list[str | None] = [None]
        for change in changes(home):
            if change.rollback:
                stack.pop()
            else:
                stack.append(change.champion)
        if len(stack) == 1:
            raise WarehouseError(f"the champion of {home.root} is {_label(None)}; no promotion is left to undo")
        left, back = stack[-1], stack[-2]
        if back is not None:
            get_model(home, back)
        return _change(home, Change(left=left, champion=back, when=_now(), by=login(), why=why, rollback=True))


def _change(home: Home, change: Change) -> Change:
    with atomic_write(_history(home)) as file:
        file.write(seal({"changes": [asdict(one) for one in (*changes(home), change)]}))
    return change


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _label(version: str | None) -> str:
    return "the bundled model" if version is None else f"model {version}"


def _history(home: Home) -> Path:
    return home.model("any").with_name("champion.json")


def _lock_file(home: Home) -> Path:
    return home.model("any").with_name(".lock")


def _read_model(folder: Path) -> KeptModel:
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != _ADDED}
    try:
        record = unseal((folder / _ADDED).read_bytes())
        added, by, digests = record["added"], record["by"], record["digests"]
        return KeptModel(version=folder.name, folder=folder, added=added, by=by, files=files, sha256=digests)
    except (ValueError, KeyError) as error:
        raise WarehouseError(
            "is not a valid record; restore it (e2emern doctor: damaged-model)", path=folder / _ADDED
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise WarehouseError(f"is damaged: {error}; restore it (e2emern doctor: damaged-model)", path=path) from error
