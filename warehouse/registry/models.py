"""The models of a home: which are kept, and which one annotates, the champion.

A model is a folder, `models/<version>/`, copied in as a whole and never changed. `models/champion.json` lists every
promotion and rollback, and its last entry names the champion: pointer and history are one file, replaced in one step,
so that they cannot disagree.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from warehouse.errors import WarehouseError
from warehouse.files import atomic_write, sync
from warehouse.layout import Home
from warehouse.snapshots.refs import login

_KEPT = frozenset({".json", ".jsonl", ".md", ".model", ".safetensors", ".toml", ".txt"})
_ADDED = "added.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The champion changed. `when` is ISO 8601 in UTC, `by` a login name; None stands for the bundled model.

    Attributes:
        evaluation: that by which it passed the gate; None where somebody promoted it all the same, or rolled back.
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
    """A model of the home. `added` is ISO 8601 in UTC, `by` a login name, `files` the bytes of each file."""

    version: str
    folder: Path
    added: str
    by: str
    files: Mapping[str, int]

    def read(self, name: str) -> Any:
        """What one of its JSON files holds, None where it has none. Raises `WarehouseError` where it is damaged."""
        return _read_json(self.folder / name)


def add_model(home: Home, folder: Path, *, version: str) -> KeptModel:
    """Copies the files of a model folder into the home under their version, and returns it; done once.

    Raises `WarehouseError` when the folder is no folder.
    """
    if not folder.is_dir():
        raise WarehouseError(f"{folder}: no such model folder")
    place = home.model(version)
    with _alone(home):
        for left in place.parent.glob(".adding-*"):  # by somebody who was killed: nobody else is at work here
            shutil.rmtree(left)
        if not place.exists():
            beside = place.with_name(f".adding-{place.name}")
            beside.mkdir()
            for file in sorted(folder.iterdir()):
                if file.is_file() and file.suffix in _KEPT and file.name != _ADDED:
                    shutil.copyfile(file, beside / file.name)
                    sync(beside / file.name)
            with atomic_write(beside / _ADDED) as record:
                record.write(json.dumps({"added": _now(), "by": login()}).encode() + b"\n")
            beside.rename(place)
            sync(place.parent)
    return get_model(home, version)


def models(home: Home) -> list[KeptModel]:
    """Returns the models of a home in the order in which they were added."""
    folders = home.model("any").parent.glob("[!.]*/")
    found = (_read_model(folder) for folder in folders if (folder / _ADDED).exists())
    return sorted(found, key=lambda one: (one.added, one.version))


def get_model(home: Home, version: str) -> KeptModel:
    """Returns a model of a home. Raises `WarehouseError` when it is not there."""
    folder = home.model(version)
    if not (folder / _ADDED).exists():
        known = ", ".join(one.version for one in models(home)) or "none"
        raise WarehouseError(f"{home.root} has no model {version}; found {known} (e2emern models list)")
    return _read_model(folder)


def champion(home: Home) -> str | None:
    """Returns the version that annotates when no model is named; None for the bundled one.

    Raises `WarehouseError` when the history is damaged.
    """
    return history[-1].champion if (history := changes(home)) else None


def changes(home: Home) -> list[Change]:
    """Returns all promotions and rollbacks, oldest first. Raises `WarehouseError` when the history is damaged."""
    path = _history(home)
    try:
        return [Change(**fields) for fields in _read_json(path) or []]
    except TypeError as error:
        raise WarehouseError(f"{path} is no history of champions; move it away") from error


def promote(
    home: Home, version: str, *, over: str | None, why: str | None = None, evaluation: str | None = None
) -> Change:
    """Makes a model of the home the champion, in one step, if `over` is the champion still.

    Raises `WarehouseError` when the home has no such model, it is the champion already, or another one is meanwhile.
    """
    get_model(home, version)
    with _alone(home):
        now = champion(home)
        if now == version:
            raise WarehouseError(f"model {version} is the champion already; nothing was changed")
        if now != over:
            raise WarehouseError(
                f"the champion is {_called(now)} by now, and model {version} was compared with {_called(over)}; "
                "compare them again"
            )
        return _change(
            home, Change(left=now, champion=version, when=_now(), by=login(), why=why, evaluation=evaluation)
        )


def roll_back_model(home: Home, *, why: str | None = None) -> Change:
    """Makes the model that the champion has replaced the champion again; once more goes back once more.

    Raises `WarehouseError` when no promotion is left to undo, or the model is not there any more.
    """
    with _alone(home):
        standing: list[str | None] = [None]
        for change in changes(home):
            if change.rollback:
                standing.pop()
            else:
                standing.append(change.champion)
        if len(standing) == 1:
            raise WarehouseError(f"the champion of {home.root} is {_called(None)}; there is no promotion to undo")
        left, back = standing[-1], standing[-2]
        if back is not None:
            get_model(home, back)
        return _change(home, Change(left=left, champion=back, when=_now(), by=login(), why=why, rollback=True))


def _change(home: Home, change: Change) -> Change:
    with atomic_write(_history(home)) as file:
        file.write(json.dumps([asdict(one) for one in (*changes(home), change)], indent=1).encode() + b"\n")
    return change


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _called(version: str | None) -> str:
    return "the bundled model" if version is None else f"model {version}"


def _history(home: Home) -> Path:
    return home.model("any").with_name("champion.json")


def _read_model(folder: Path) -> KeptModel:
    added = _read_json(folder / _ADDED)
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != _ADDED}
    return KeptModel(version=folder.name, folder=folder, files=files, **added)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise WarehouseError(f"{path} is damaged: {error}; move it away") from error


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Holds the lock of the home's models, waiting for whoever holds it; the kernel releases it on any death."""
    folder = home.model("any").parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
