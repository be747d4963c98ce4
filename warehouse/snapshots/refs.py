"""The snapshot files of a home: their numbers, which one is current, who may change that, and going back.

`warehouse.duckdb` is a symbolic link to the current snapshot and is replaced in one step. A link, not a copy: DuckDB
resolves it when it opens, so a reader keeps the snapshot it has opened, and one number names one file. A rollback is
another link and an entry in `snapshots/rollbacks.json`, which publishing heeds: nothing withdrawn comes back unasked.
"""

from __future__ import annotations

import fcntl
import getpass
import json
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

from warehouse.errors import WarehouseError
from warehouse.files import atomic_write, sync
from warehouse.layout import Home
from warehouse.snapshots import views

_NUMBERED = re.compile(r"(?:\.pruned-)?([0-9]+)\.duckdb")  # as it stands, being pruned, or set aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The current snapshot was changed by hand. `when` is ISO 8601 in UTC, `by` a login name."""

    left: int
    shown: int
    when: str
    by: str
    why: str | None = None


@contextmanager
def publisher(home: Home) -> Iterator[None]:
    """Holds the home's lock, waiting for whoever holds it; the kernel releases it if this process dies.

    Raises `WarehouseError` when the home is not there.
    """
    home.check()
    home.snapshots.mkdir(exist_ok=True)
    with home.lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def numbers(home: Home) -> list[int]:
    """Returns the numbers of all snapshots, ascending."""
    return sorted(int(path.stem) for path in home.snapshots.glob("*.duckdb") if path.stem.isdigit())


def next_number(home: Home) -> int:
    """Returns the number of the next snapshot; one that was given, and pruned or set aside since, is not given again.

    Raises `WarehouseError` when the record of rollbacks is of another form.
    """
    names = (_NUMBERED.match(path.name) for path in home.snapshots.glob("*"))
    given = [int(found[1]) for found in names if found]
    return max([*given, *(one.left for one in rollbacks(home))], default=0) + 1


def current_number(home: Home) -> int | None:
    """Returns the number of the snapshot that `warehouse.duckdb` shows, None before the first publish.

    Raises `WarehouseError` when it is anything but a link to a snapshot of this home that is there.
    """
    number = linked_number(home)
    if number is not None and home.snapshot(number).exists():
        return number
    if home.warehouse.is_symlink() or home.warehouse.exists():
        raise WarehouseError(
            f"{home.warehouse} is no link to a snapshot that is there; e2emern doctor --repair puts it right"
        )
    return None


def linked_number(home: Home) -> int | None:
    """Returns the number that `warehouse.duckdb` links to, be it there or not; None where it is no link to one."""
    target = home.warehouse.resolve()
    if home.warehouse.is_symlink() and target.parent == home.snapshots.resolve() and target.stem.isdigit():
        return int(target.stem)
    return None


def point(home: Home, number: int) -> None:
    """Makes a snapshot the current one, and stamps the one before it with the time until which it was shown."""
    beside = home.root / ".warehouse.duckdb"
    beside.unlink(missing_ok=True)
    beside.symlink_to(home.snapshot(number).relative_to(home.root))
    left = home.warehouse.resolve()
    beside.replace(home.warehouse)
    sync(home.root)
    with suppress(FileNotFoundError, PermissionError):  # it is gone, or somebody else's
        os.utime(left)


@contextmanager
def building(home: Home) -> Iterator[Path]:
    """Gives the path at which a snapshot file is built, and clears it before and afterwards."""
    path = home.snapshots / ".building.duckdb"
    _remove(path)
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def opened(built: Path, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens the file that is built; at the end it holds all that was committed, or a `duckdb.Error` says why not.

    DuckDB moves what was committed from its log into the file when it closes it, and tells nobody where that fails,
    as on a full disk.
    """
    with duckdb.connect(str(built), config=config or {}) as connection:
        yield connection
        connection.execute("CHECKPOINT")


def shelve(built: Path, path: Path) -> None:
    """Gives a finished snapshot file its name, for reading only."""
    sync(built)
    built.chmod(0o444)
    built.rename(path)
    sync(path.parent)


def roll_back(home: Home, number: int | None = None, *, why: str | None = None) -> Rollback:
    """Makes another snapshot the current one, by default the one before it, and records who did so and why.

    Raises `WarehouseError` when there is no such snapshot, it cannot be opened, or it is the current one, and when
    `warehouse.duckdb` is no link to a snapshot.
    """
    home = Home(home.root.resolve())
    with publisher(home):
        left = current_number(home)
        if left is None:
            raise WarehouseError(f"{home.root} has no snapshot yet; annotate something into it first")
        there = numbers(home)
        if number is None:
            number = number_before(home, left)
            if number is None:
                raise WarehouseError(f"snapshot {left} is the oldest of {home.root}; there is none to go back to")
        if number not in there:
            listed = ", ".join(map(str, there))
            raise WarehouseError(f"{home.root} has no snapshot {number}; found {listed}")
        if number == left:
            raise WarehouseError(f"snapshot {number} is the current one already; nothing was changed")
        _move(home, number)  # where the home has moved; and it can be opened
        rollback = Rollback(left=left, shown=number, when=datetime.now(UTC).isoformat(), by=login(), why=why)
        with atomic_write(rollbacks_path(home)) as file:  # first: one that is not recorded could be undone
            file.write(json.dumps([asdict(one) for one in [*rollbacks(home), rollback]], indent=1).encode() + b"\n")
        point(home, number)
        return rollback


def rollbacks(home: Home) -> list[Rollback]:
    """Returns all rollbacks, oldest first. Raises `WarehouseError` when the record is of another form."""
    path = rollbacks_path(home)
    if not path.exists():
        return []
    try:
        return [Rollback(**fields) for fields in json.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        raise WarehouseError(f"{path} is no record of rollbacks; move it away") from error


def active_rollback(home: Home) -> Rollback | None:
    """Returns the rollback to an earlier snapshot that is still in force: nothing was published since.

    Of several in a row it is the last, and `left` is the highest that they left: 5 to 3 and 3 to 4 still withdraw 5.
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
    """Returns the snapshot that a snapshot took the place of, None for the first; what was withdrawn is passed over.

    Where that was pruned, or cannot be told since the snapshot is damaged, it is the newest below. Raises
    `WarehouseError` when the record of rollbacks is of another form.
    """
    out = withdrawn(home)
    try:
        ((previous,),) = _ask(home.snapshot(number), "SELECT previous FROM snapshot")
        out.discard(previous)
    except WarehouseError:
        previous = number - 1
    return max((one for one in numbers(home) if one <= (previous or 0) and one not in out), default=None)


def withdrawn(home: Home) -> set[int]:
    """Returns the numbers that rollbacks went back over, but for those that were shown again by a later one.

    Raises `WarehouseError` when the record of rollbacks is of another form.
    """
    found: set[int] = set()
    for one in rollbacks(home):
        found |= {*range(one.shown + 1, one.left + 1)}
        found.discard(one.shown)
    return found


def relocate(home: Home) -> list[int]:
    """Makes every snapshot read the files where the home stands now, and returns the numbers of those it changed.

    Each is replaced in one step, and takes milliseconds whatever it shows. Raises `WarehouseError` when one cannot be
    opened.
    """
    home = Home(home.root.resolve())
    changed = []
    with publisher(home):
        for number in numbers(home):
            if _move(home, number):
                changed.append(number)
    return changed


def relocate_current(home: Home) -> bool:
    """Does for the current snapshot what `relocate` does for all; the caller holds the home's lock.

    Raises `WarehouseError` when it cannot be opened, or `warehouse.duckdb` is no link to it.
    """
    number = current_number(home)
    return number is not None and _move(home, number)


def login() -> str:
    """Returns the login name of who runs this process, or its user id where the system has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _move(home: Home, number: int) -> bool:
    path = home.snapshot(number)
    if recorded_root(path) == views.literal_path(home.root):
        return False
    shown_until = path.stat().st_mtime
    with building(home) as built:
        shutil.copyfile(path, built)
        try:
            with opened(built) as connection:
                views.create_home(connection, home.root)
        except duckdb.Error as error:
            raise WarehouseError(f"{path} stays as it was: {' '.join(str(error).split())}") from error
        os.utime(built, (shown_until, shown_until))
        shelve(built, path)
    return True


def recorded_root(path: Path) -> str:
    """Returns the folder, as a pattern, from which a snapshot reads. Raises `WarehouseError` if it cannot be opened."""
    ((root,),) = _ask(path, "SELECT home()")
    return str(root)


def _ask(snapshot: Path, sql: str) -> list[tuple[Any, ...]]:
    try:
        with duckdb.connect(str(snapshot), read_only=True) as connection:
            return connection.execute(sql).fetchall()
    except duckdb.Error as error:
        raise WarehouseError(f"{snapshot} cannot be opened: {str(error).splitlines()[0]}") from error


def rollbacks_path(home: Home) -> Path:
    """Returns where rollbacks are recorded."""
    return home.snapshots / "rollbacks.json"


def _remove(path: Path) -> None:
    for suffix in ("", ".wal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)
