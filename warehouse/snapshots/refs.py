"""Snapshot files of a home: their numbers, the current one, the publisher's lock, and rollback.

`warehouse.duckdb` is a symbolic link to the current snapshot and is replaced atomically. It is a link, not a copy:
DuckDB resolves it when it opens the file, so a reader keeps the snapshot it has opened. A rollback changes the link and
adds an entry to `snapshots/rollbacks.json`. Publishing reads that record, so nothing withdrawn is shown again unasked.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import NoSnapshotError, WarehouseError
from e2emern.warehouse.files import atomic_write, locked, make_folder, revalidate, sync
from e2emern.warehouse.layout import Home
from e2emern.warehouse.login import login
from e2emern.warehouse.quoting import literal_path
from e2emern.warehouse.sealed import seal, unseal
from e2emern.warehouse.snapshots import views
from e2emern.warehouse.snapshots.opening import attach, connected
from e2emern.warehouse.wording import one_line

_NUMBERED = re.compile(r"(?:\.pruned-)?([0-9]+)\.duckdb")  # also of snapshots being pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A change of the current snapshot by a user. `when` is ISO 8601 in UTC, `by` a login name."""

    left: int
    shown: int
    when: str
    by: str
    why: str | None = None


@contextmanager
def publisher(home: Home) -> Iterator[None]:
    """Hold the home's lock; wait while another process holds it.

    Raises `WarehouseError` if the home does not exist.
    """
    home.check()
    make_folder(home.snapshots)
    with locked(home.lock):
        for folder in (home.root, home.snapshots):  # another host may have published
            revalidate(folder)
        yield


def numbers(home: Home) -> list[int]:
    """Return the numbers of all snapshots, ascending."""
    return sorted(int(path.stem) for path in home.snapshots.glob("*.duckdb") if path.stem.isdigit())


def next_number(home: Home) -> int:
    """Return the number of the next snapshot. Numbers of snapshots pruned or in quarantine are not reused.

    Raises `WarehouseError` if the record of rollbacks is malformed.
    """
    kept = home.quarantine / home.snapshots.name
    names = (_NUMBERED.match(path.name) for path in (*home.snapshots.glob("*"), *kept.glob("*")))
    given = [int(found[1]) for found in names if found]
    return max([*given, *(one.left for one in rollbacks(home))], default=0) + 1


def current_number(home: Home) -> int | None:
    """Return the number of the snapshot that `warehouse.duckdb` shows, None before the first publish.

    Raises `WarehouseError` if it is anything but a link to an existing snapshot of this home.
    """
    number = linked_number(home)
    if number is not None and home.snapshot(number).exists():
        return number
    if home.warehouse.is_symlink() or home.warehouse.exists():
        raise WarehouseError("is not a link to an existing snapshot; run e2emern doctor --repair", path=home.warehouse)
    return None


def shown_number(home: Home) -> int:
    """Return the number of the current snapshot, like `current_number`. Raises `WarehouseError` if there is none."""
    home.check()
    number = current_number(home)
    if number is None:
        raise NoSnapshotError(home.root)
    return number


def existing_number(home: Home, number: int | None) -> int:
    """Return the number of a snapshot, by default of the current one. Raises `WarehouseError` if it does not exist."""
    current = shown_number(home)
    if number is not None and number not in (existing := numbers(home)):
        raise WarehouseError(f"has no snapshot {number}; found {', '.join(map(str, existing))}", path=home.root)
    return current if number is None else number


def linked_number(home: Home) -> int | None:
    """Return the number of the snapshot that `warehouse.duckdb` links to, even if it is missing; None if no link."""
    target = home.warehouse.resolve()
    if home.warehouse.is_symlink() and target.parent == home.snapshots.resolve() and target.stem.isdigit():
        return int(target.stem)
    return None


def set_current(home: Home, number: int) -> None:
    """Make a snapshot the current one, and set the modification time of the previous one to the time of the change."""
    staged = home.root / ".warehouse.duckdb"
    staged.unlink(missing_ok=True)
    staged.symlink_to(home.snapshot(number).relative_to(home.root))
    left = home.warehouse.resolve()
    staged.replace(home.warehouse)
    sync(home.root)
    with suppress(FileNotFoundError, PermissionError):  # it is gone, or another user's
        os.utime(left)


@contextmanager
def staging_file(home: Home) -> Iterator[Path]:
    """Yield the path at which a snapshot file is built; delete what is there before and afterwards."""
    path = home.snapshots / ".building.duckdb"
    _remove(path)
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def opened(built: Path, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a staging file, and write all committed data to it at the end. Raises `duckdb.Error` if that fails.

    On close, DuckDB moves committed data from its log into the file, but ignores a failure such as a full disk. The
    explicit checkpoint reports it.
    """
    with connect(str(built), config=config) as connection:
        yield connection
        connection.execute("CHECKPOINT")


def commit(built: Path, path: Path) -> None:
    """Rename a finished staging file to its snapshot name, read-only."""
    sync(built)
    built.chmod(0o444)
    built.rename(path)
    sync(path.parent)


def roll_back(home: Home, number: int | None = None, *, why: str | None = None) -> Rollback:
    """Make another snapshot the current one, by default the previous one, and record who did so and why.

    Raises `WarehouseError` if there is no such snapshot, it cannot be opened, or it is the current one already, and if
    `warehouse.duckdb` is not a link to a snapshot.
    """
    home = Home(home.root.resolve())
    with publisher(home):
        left = current_number(home)
        if left is None:
            raise NoSnapshotError(home.root)
        existing = numbers(home)
        if number is None:
            number = number_before(home, left)
            if number is None:
                raise WarehouseError(f"snapshot {left} is the oldest of {home.root}; there is none to go back to")
        if number not in existing:
            listed = ", ".join(map(str, existing))
            raise WarehouseError(f"has no snapshot {number}; found {listed}", path=home.root)
        if number == left:
            raise WarehouseError(f"snapshot {number} is the current one already; nothing was changed")
        _relocate(home, number)  # relocates it if the home has moved, and proves that it can be opened
        rollback = Rollback(left=left, shown=number, when=datetime.now(UTC).isoformat(), by=login(), why=why)
        with atomic_write(
            rollbacks_path(home)
        ) as file:  # before the link: an unrecorded rollback could be undone by a publish
            file.write(seal({"rollbacks": [asdict(one) for one in (*rollbacks(home), rollback)]}))
        set_current(home, number)
        return rollback


def rollbacks(home: Home) -> list[Rollback]:
    """Return all rollbacks, oldest first. Raises `WarehouseError` if the record is not as it was written."""
    path = rollbacks_path(home)
    try:
        return [Rollback(**fields) for fields in unseal(path.read_bytes())["rollbacks"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise WarehouseError(
            "is not a valid record of rollbacks; restore it from a backup (e2emern doctor: damaged-rollbacks)",
            path=path,
        ) from error


def active_rollback(home: Home) -> Rollback | None:
    """Return the active rollback to an earlier snapshot: nothing was published after it. None if there is none.

    Of several in a row, return the last, with the highest number that they left as `left`: 5 to 3 and 3 to 4 still
    withdraw 5.
    """
    done = rollbacks(home)
    if not done or done[-1].shown != current_number(home):
        return None
    last, highest = done[-1], done[-1].left
    for later, earlier in pairwise(reversed(done)):
        if earlier.shown != later.left:  # something was published between the two
            break
        highest = max(highest, earlier.left)
    return replace(last, left=highest) if last.shown < highest else None


def number_before(home: Home, number: int) -> int | None:
    """Return the number of the snapshot that a snapshot replaced, skipping withdrawn ones; None for the first.

    If that snapshot was pruned, or this one is damaged, return the next lower number that exists. Raises
    `WarehouseError` if the record of rollbacks is malformed.
    """
    skipped = withdrawn(home)
    try:
        with connected(home.snapshots.resolve()) as connection:
            attach(connection, home.snapshot(number).resolve(), "opened")
            ((previous,),) = connection.execute("SELECT previous FROM opened.snapshot").fetchall()
        skipped.discard(previous)
    except (WarehouseError, duckdb.Error):
        previous = number - 1
    return max((one for one in numbers(home) if one <= (previous or 0) and one not in skipped), default=None)


def withdrawn(home: Home) -> set[int]:
    """Return the numbers that rollbacks withdrew, except those that a later rollback made current again.

    Raises `WarehouseError` if the record of rollbacks is malformed.
    """
    found: set[int] = set()
    for one in rollbacks(home):
        found |= {*range(one.shown + 1, one.left + 1)}
        found.discard(one.shown)
    return found


def relocate(home: Home) -> list[int]:
    """Make every snapshot read its files from the present location of the home; return the numbers of those changed.

    Each is replaced atomically, within milliseconds whatever its size. Raises `WarehouseError` if one cannot be opened.
    """
    home = Home(home.root.resolve())
    changed = []
    with publisher(home):
        for number in numbers(home):
            if _relocate(home, number):
                changed.append(number)
    return changed


def relocate_current(home: Home) -> bool:
    """Relocate only the current snapshot, as `relocate` does; the caller holds the home's lock.

    Raises `WarehouseError` if it cannot be opened, or `warehouse.duckdb` is not a link to it.
    """
    number = current_number(home)
    return number is not None and _relocate(home, number)


def _relocate(home: Home, number: int) -> bool:
    path = home.snapshot(number)
    if recorded_root(path) == literal_path(home.root):
        return False
    shown_until = path.stat().st_mtime
    with staging_file(home) as built:
        shutil.copyfile(path, built)
        try:
            with opened(built) as connection:
                views.create_home(connection, home.root)
        except duckdb.Error as error:
            raise WarehouseError(f"stays as it was: {one_line(error)}", path=path) from error
        os.utime(built, (shown_until, shown_until))
        commit(built, path)
    return True


def recorded_root(path: Path) -> str:
    """Return the folder, as a pattern, that a snapshot reads from. Raises `WarehouseError` if it cannot be opened."""
    with connected(path.resolve().parent) as connection:
        return attach(connection, path.resolve(), "snapshot")


def rollbacks_path(home: Home) -> Path:
    """Return the path of the record of rollbacks."""
    return home.snapshots / "rollbacks.json"


def _remove(path: Path) -> None:
    for suffix in ("", ".wal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)
