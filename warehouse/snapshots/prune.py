"""Delete old snapshots, and the files that only they show.

Only files that were published and that no kept snapshot shows are deleted: files of sources that were issued again,
mentions of a model that was replaced, and merged files that were replaced; and files of sources that are withdrawn.
Other unpublished files are finished or active work and are kept, as are files that the next publish would show. A
snapshot that a reader has open is kept with its files: DuckDB holds a lock on it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from e2emern.warehouse.errors import NoSnapshotError, WarehouseError
from e2emern.warehouse.files import sync
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.snapshots.precedence import precedence
from e2emern.warehouse.snapshots.reader import open_path
from e2emern.warehouse.snapshots.refs import current_number, numbers, publisher
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.unreadable import unreadable
from e2emern.warehouse.wording import one_line

GRACE_S = 60.0  # a client may be about to open what was current a moment ago, and has no lock yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What `prune` did, or would do: numbers of snapshots, and the number and bytes of deleted Parquet files."""

    kept: list[int]
    in_use: list[int]  # kept because a reader may have them open, or another user owns them
    deleted: list[int]
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a snapshot needs: its sources under one model and vocabulary, and the merged files it names."""

    versions: Versions
    keys: frozenset[SourceKey]  # the sources it shows
    every: frozenset[SourceKey]  # and those that were issued again
    merged: frozenset[Path]


def prune(home: Home, *, keep: int, grace_s: float = GRACE_S, dry: bool = False) -> Pruned:
    """Delete all snapshots but the newest `keep` and the current one, and the files that no kept snapshot shows.

    Also keeps a snapshot that was current less than `grace_s` seconds ago, that is open, or that another user owns.
    With `dry`, deletes nothing, and returns what it would delete. Safe to kill: the next call finishes the work.

    Raises `WarehouseError` if `keep` is below 1, nothing was published, or a snapshot cannot be read: its files are
    then unknown, and nothing is deleted.
    """
    if keep < 1:
        raise WarehouseError(f"found {keep} snapshots to keep, expected at least 1")
    home = Home(home.root.resolve())
    with publisher(home):
        current = current_number(home)
        if current is None:
            raise NoSnapshotError(home.root)
        existing = numbers(home)
        shown = {path: _shown(home, path) for path in (*map(home.snapshot, existing), *_aside(home))}
        wanted = {*existing[-keep:], current}
        deleted = [number for number in existing if number not in wanted and _is_free(home, number, grace_s=grace_s)]
        if not dry:
            deleted = [number for number in deleted if _set_aside(home, number)]
            sync(home.snapshots)  # else a power cut could bring a snapshot back whose files are deleted
        kept = [number for number in existing if number not in deleted]
        remaining = [shown.pop(home.snapshot(number)) for number in kept]
        doomed = _doomed(home, remaining, list(shown.values()), current=remaining[kept.index(current)])
        counts = [_measure(paths) if dry else _delete(paths) for paths in doomed]
        for path in _aside(home) if not dry else ():
            path.unlink()
        return Pruned(
            kept=kept,
            in_use=[number for number in kept if number not in wanted],
            deleted=deleted,
            files=sum(count for count, _ in counts),
            bytes=sum(size for _, size in counts),
        )


def _is_free(home: Home, number: int, *, grace_s: float) -> bool:
    """Return whether no reader has a snapshot open, may be about to open it, and this user owns it."""
    path = home.snapshot(number)
    if time.time() - path.stat().st_mtime < grace_s:
        return False
    return _lock_alone(path, then=lambda: path.chmod(0o444))


def _set_aside(home: Home, number: int) -> bool:
    """Rename a snapshot out of the list, unless a reader has just opened it."""
    path = home.snapshot(number)
    return _lock_alone(path, then=lambda: path.rename(home.snapshots / f".pruned-{number}.duckdb"))


def _lock_alone(path: Path, *, then: Callable[[], object]) -> bool:
    """Call `then` while no reader has a snapshot open, and return whether that was possible."""
    try:
        path.chmod(0o644)  # an exclusive lock needs a file opened for writing
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            then()
            return True
    except BlockingIOError:
        path.chmod(0o444)
        return False
    except PermissionError:
        return False


def _aside(home: Home) -> list[Path]:
    return sorted(home.snapshots.glob(".pruned-*.duckdb"))


def _doomed(home: Home, kept: list[_Shown], pruned: list[_Shown], *, current: _Shown) -> tuple[list[Path], list[Path]]:
    """Return the files that only pruned snapshots show, in the order in which they must be deleted."""
    history = read_history(home)
    withdrawn, seen = history.withdrawn, history.seen
    mentions: list[Path] = []
    for one in pruned:
        needed = {key for each in kept if each.versions == one.versions for key in each.keys}
        if one.versions == current.versions:
            needed |= set(precedence((needed | one.every) - withdrawn, seen)[0])
        for key in sorted(one.every - needed):  # mentions first: without them the source counts as not done
            mentions.append(home.mentions(key, one.versions))
            mentions.append(home.unread(key, one.versions))
    named = {key for each in kept for key in each.keys}
    gone = withdrawn - {key for each in kept for key in each.every}  # published or not
    for folder in [path for path in (home.root / "mentions").glob("*") if path.is_dir()]:
        mentions += [folder / f"{key.stem}.parquet" for key in sorted(gone)]
        mentions += [home.root / "failures" / folder.name / f"{key.stem}.parquet" for key in sorted(gone)]
    going = set(mentions)
    used = {path.name for path in (home.root / "mentions").glob("*/*.parquet") if path not in going}  # by any model
    documents: list[Path] = []
    for key in sorted({key for one in pruned for key in one.every} - named | gone):
        if f"{key.stem}.parquet" not in used:
            documents += [home.documents(key), home.deletions(key), home.failures(key)]
    merged = {path for each in kept for path in each.merged}
    documents += [path for path in sorted((home.root / "compacted").rglob("*.parquet")) if path not in merged]
    return list(dict.fromkeys(mentions)), documents


def _shown(home: Home, path: Path) -> _Shown:
    try:
        with open_path(home, path) as connection:
            ((model, mesh),) = connection.execute("SELECT model_version, mesh_version FROM snapshot").fetchall()
            sources = connection.execute("SELECT source, digest, current FROM sources").fetchall()
            merged = connection.execute("SELECT path FROM files WHERE starts_with(path, 'compacted/')").fetchall()
    except (WarehouseError, duckdb.Error) as error:
        if unreadable(error):
            raise WarehouseError(f"nothing was pruned: {one_line(error)}") from error
        raise WarehouseError(
            f"nothing was pruned; e2emern doctor --repair sets {path.name} aside, which cannot be read: "
            f"{one_line(error)}"
        ) from error
    every = {SourceKey(name, digest): current for name, digest, current in sources}
    return _Shown(
        Versions(model, mesh),
        frozenset(key for key, current in every.items() if current),
        frozenset(every),
        frozenset(home.root / path for (path,) in merged),
    )


def _measure(paths: list[Path]) -> tuple[int, int]:
    """Return the number and the bytes of those files that exist."""
    sizes = [path.stat().st_size for path in paths if path.exists()]
    return len(sizes), sum(sizes)


def _delete(paths: list[Path]) -> tuple[int, int]:
    """Delete files, so that a power cut brings none back, and return their number and bytes."""
    count = size = 0
    folders = set()
    for path in paths:
        with suppress(FileNotFoundError):
            size += path.stat().st_size
            path.unlink()
            count += 1
            folders.add(path.parent)
    for folder in sorted(folders):
        sync(folder)
    return count, size
