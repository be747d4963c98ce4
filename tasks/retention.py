"""What a home keeps, and what is deleted: one policy for everything that grows.

Never deleted are corrections, evaluations, vocabularies, and models that are or were the champion or made mentions. Nor
are the records of runs: they are the history that decides which version of a document is shown.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from e2emern.tasks.ingest.download_folder import DownloadFolder
from e2emern.tasks.ingest.outcome import Limits
from e2emern.warehouse.errors import NoSnapshotError
from e2emern.warehouse.files import is_locked
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.registry.evaluations import expired_models
from e2emern.warehouse.registry.models import champion, remove_model
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.reader import open_snapshot, read_snapshot
from e2emern.warehouse.snapshots.refs import current_number, numbers, publisher
from e2emern.warehouse.sources.hash_cache import digesting
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.sources.runs import may_be_running
from e2emern.warehouse.wording import examples, plural

_DAY_S = 86_400
_OF_A_MODEL = ("mentions", "failures", "parts")  # in this order: without its mentions, a source counts as not done


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept.

    Attributes:
        snapshots: newest snapshots to keep; the current one, and those that readers have open, stay too.
        grace_hours: a snapshot that was current in these hours stays, for readers whose locks are not seen here.
        models_days: refused challengers, interrupted retrainings, and mentions that no snapshot has ever shown.
        dumps_days: dump files that their source no longer lists, such as those of last year; 0 keeps them all.
        server_days: Prefect's runs that have ended, with their logs and artifacts; the server deletes them.
    """

    snapshots: Annotated[int, Field(ge=1)] = 14
    grace_hours: Annotated[float, Field(ge=0)] = 24.0
    models_days: Annotated[float, Field(ge=0)] = 30.0
    dumps_days: Annotated[float, Field(ge=0)] = 0.0
    server_days: Annotated[float, Field(gt=1 / 24)] = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was deleted of one kind, or would be: names, number of files, and bytes."""

    what: str
    names: tuple[str, ...]
    files: int
    bytes: int


def active_work(home: Home) -> str | None:
    """Return what is active in a home, in words: a run, or a process that fetches dump files; None if nothing is.

    Raises WarehouseError if the record of a run is malformed.
    """
    if DownloadFolder(home.dumps, limits=Limits()).is_busy():
        return "dump files are being fetched"
    for run in reversed(read_history(home).runs):
        if may_be_running(home, run):
            return f"run {run.run_id} on {run.host} is active"
    return None


def apply_retention(root: Path, retention: Retention, *, dry: bool = False) -> list[Freed]:
    """Delete what a home no longer keeps, and return it by kind; with `dry`, delete nothing.

    Safe to kill and to repeat. Raises WarehouseError if a snapshot cannot be read: its files are then unknown.
    """
    from e2emern.tasks.training.cleaning import stale_training  # it imports torch

    home = open_home(root)
    days = retention.models_days
    shown = _shown(home)  # also by what is deleted now
    freed = [_snapshots(home, retention, dry=dry)]
    expired = expired_models(home, days=days)
    freed.append(_measure("models", home, map(home.model, expired)))
    for version in expired if not dry else ():
        remove_model(home, version)
    finding: dict[str, Callable[[], Iterable[Path]]] = {  # each just before it is deleted: it may be in use by then
        "unpublished mentions": lambda: _abandoned(home, shown, before=time.time() - days * _DAY_S),
        "retrainings": lambda: stale_training(home, days=days),
        "dumps": lambda: _unlisted(home, retention.dumps_days),
    }
    with publisher(home):  # else a new snapshot could show what is deleted
        for what, find in finding.items():
            paths = list(find())
            freed.append(_measure(what, home, paths))
            for path in paths if not dry else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return freed


def _shown(home: Home) -> set[str]:
    """Return the names of the folders of mentions that snapshots show."""
    return {read_snapshot(home, number).versions.folder for number in numbers(home)}


def _snapshots(home: Home, retention: Retention, *, dry: bool) -> Freed:
    try:
        done = prune(home, keep=retention.snapshots, grace_s=retention.grace_hours * 3600, dry=dry)
    except NoSnapshotError:
        return Freed(what="snapshots", names=(), files=0, bytes=0)
    return Freed(what="snapshots", names=tuple(map(str, done.deleted)), files=done.files, bytes=done.bytes)


def _abandoned(home: Home, shown: set[str], *, before: float) -> Iterator[Path]:
    """Yield the folders of mentions that no snapshot shows, nobody adds to, and the champion has not made.

    Before the first snapshot there are none: then all work is that of a first load.
    """
    shown = shown | _shown(home)
    if not shown:
        return
    leading = {path.name for path in home.mentions_folders(champion(home) or "-")}
    places = [home.root / kind for kind in _OF_A_MODEL]
    names = {folder.name for place in places for folder in place.glob("[!.]*/")}
    for name in sorted(names - shown - leading):
        folders = [place / name for place in places if (place / name).is_dir()]
        claims = (claim for folder in folders for claim in folder.glob(".claim-*"))
        if not any(map(is_locked, claims)) and max(map(_newest, folders)) < before:
            yield from folders


def _unlisted(home: Home, days: float) -> list[Path]:
    """Return the dump files that their source no longer lists, and all of whose records the tables show."""
    if not days or current_number(home) is None:
        return []
    with open_snapshot(home) as connection:
        rows = connection.execute("SELECT source, digest FROM sources WHERE current AND status = 'complete'").fetchall()
    done = {(key.name, key.content) for key in (SourceKey(name, digest) for name, digest in rows)}
    unlisted = DownloadFolder(home.dumps, limits=Limits()).unlisted(before=time.time() - days * _DAY_S)
    with digesting(home) as digest:
        return [home.dumps / name for name in unlisted if (name, digest(home.dumps / name).digest) in done]


def _measure(what: str, home: Home, paths: Iterable[Path]) -> Freed:
    paths = list(paths)
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    names = tuple(str(path.relative_to(home.root)) for path in paths)
    return Freed(what=what, names=names, files=len(files), bytes=sum(file.stat().st_size for file in files))


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def in_words(freed: list[Freed]) -> list[str]:
    """Return a line for each kind of which there is something."""
    return [
        f"{one.what}: {examples(one.names, separator=', ', most=3) or 'none'} "
        f"({plural(one.files, 'file')}, {one.bytes / 1e6:,.1f} MB)"
        for one in freed
        if one.names or one.files
    ]
