"""Examine a home: compare every file with its recorded facts, and find files that do not belong there.

Each finding has a code; `docs/doctor.md` explains each code and what to do. A repair moves damaged files to the
quarantine of the home (`warehouse.quarantine`), so that the next run writes them again. It deletes only unfinished
files, and files in quarantine that exist again and are sound. A file that cannot be read now is not damaged
(`warehouse.unreadable`): then nothing is repaired, because what cannot be read may name or replace any other file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from e2emern.warehouse.doctor_repairs import (
    PARSED,
    Repair,
    Shown,
    delete,
    end,
    forget,
    link_again,
    rewrite,
    sweep_beside,
    take_away,
)
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import is_locked
from e2emern.warehouse.layout import Home, Versions, digest_file
from e2emern.warehouse.parquet import read_metadata, verify_pages
from e2emern.warehouse.quarantine import made_again
from e2emern.warehouse.quoting import literal_path
from e2emern.warehouse.registry.models import changes, check_files
from e2emern.warehouse.snapshots.file_stats import file_facts, recorded_facts
from e2emern.warehouse.snapshots.reader import open_path
from e2emern.warehouse.snapshots.refs import (
    linked_number,
    numbers,
    publisher,
    recorded_root,
    relocate,
    rollbacks,
    rollbacks_path,
)
from e2emern.warehouse.sources.hash_cache import kept_digests
from e2emern.warehouse.sources.runs import may_be_running, read_run
from e2emern.warehouse.unreadable import unreadable
from e2emern.warehouse.wording import one_line

CODES: Final = {
    "unreadable": "the file cannot be read now; that does not mean that it is damaged",
    "broken-link": "warehouse.duckdb shows no snapshot that can be read",
    "damaged-snapshot": "a snapshot cannot be read",
    "moved-home": "snapshots read from where the home was before",
    "missing-file": "a file that a snapshot names does not exist",
    "damaged-file": "a file differs from what was published, or is not a Parquet file",
    "changed-dump": "a dump file has other content, though it looks as it did when it was read",
    "unfinished-source": "a run ended before it had annotated the source",
    "orphan-file": "no snapshot names the file and no run needs it",
    "foreign-file": "the file is none of ours",
    "leftover": "a writer ended before it had finished the file",
    "quarantined": "the file that replaces it is sound",
    "stale-run": "a run never ended: it was killed",
    "damaged-run": "the record of a run cannot be read",
    "damaged-rollbacks": "the record of rollbacks cannot be read",
    "damaged-model": "a file of a model differs from what was added",
    "damaged-champion": "the history of champions cannot be read",
}
"""What each finding means."""

_OF_SOURCES = ("missing-file", "damaged-file", "unfinished-source")  # not repaired while a run is active
_ABANDONED_S = 3600.0  # a half-written cache untouched for this long has no writer


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem in a home. A `path` inside the home is relative to it; `repaired` describes the repair."""

    code: str
    path: str
    what: str
    repaired: str | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    finding: Finding
    repair: Repair | None = None


def examine(home: Home, *, repair: bool = False) -> list[Finding]:
    """Return every problem of a home; with `repair`, also repair what is safe to repair.

    Reads every file that a snapshot names, and every dump file whose digest is cached. A repair holds the publisher's
    lock. Raises `WarehouseError` if the home does not exist, or if a repair of the link needs the record of rollbacks
    and it is malformed.
    """
    home.check()
    home = Home(home.root.resolve())
    findings = []
    with publisher(home) if repair else nullcontext():
        before = {*home.runs.glob("*.json")}
        cases = list(_cases(home, locked=repair))
        unknown = any(case.finding.code == "unreadable" for case in cases)
        active = _has_active_run(home) or before != {*home.runs.glob("*.json")}  # or one began meanwhile
        for case in cases:
            blocked = unknown or (active and case.finding.code in _OF_SOURCES)
            findings.append(_repaired(case) if repair and not blocked else case.finding)
        if repair and not unknown:
            findings += _release(home, {home.root / finding.path for finding in findings})
    if repair and not unknown and any(finding.code == "moved-home" for finding in findings):
        relocate(home)  # takes the lock itself
        findings = [
            replace(one, repaired="they read from here now") if one.code == "moved-home" else one for one in findings
        ]
    return findings


def _cases(home: Home, *, locked: bool) -> Iterator[_Case]:
    idle = locked or not is_locked(home.lock)
    shown = Shown()
    for check in (
        _check_folders(home),
        _check_runs(home),
        _check_snapshots(home, shown, idle=idle),
        _check_rollbacks(home),
        _check_link(home, shown),
        _check_named_files(home, shown),
        _check_other_files(home, shown, idle=idle),
        _check_models(home),
        _check_leftovers(home, idle=idle),
        _check_dumps(home),
    ):
        try:
            yield from check
        except OSError as error:
            yield _unreadable(home, Path(error.filename or home.root), error)


def _repaired(case: _Case) -> Finding:
    """Repair what was found, if possible, and return the finding with what was done."""
    try:
        return replace(case.finding, repaired=case.repair()) if case.repair else case.finding
    except OSError as error:
        return replace(case.finding, what=f"{case.finding.what}; not repaired: {error.strerror or one_line(error)}")


def _release(home: Home, found: set[Path]) -> Iterator[Finding]:
    """Delete the files in quarantine that exist again, except those with a finding."""
    for path, kept in made_again(home).items():
        if path not in found:
            for one in kept:
                one.unlink()
                yield Finding("quarantined", _relative(home, one), "was written again", repaired="deleted")


def _check_folders(home: Home) -> Iterator[_Case]:
    """Find folders that cannot be listed: all files in them would seem to be missing."""
    errors: list[OSError] = []
    for _ in os.walk(home.root, onerror=errors.append):
        pass
    for error in errors:
        if unreadable(error):
            yield _unreadable(home, Path(error.filename), error)


def _has_active_run(home: Home) -> bool:
    for path in home.runs.glob("*.json"):
        with suppress(WarehouseError, OSError):
            if may_be_running(read_run(path)):
                return True
    return False


def _check_runs(home: Home) -> Iterator[_Case]:
    for path in sorted(home.runs.glob("*.json")):
        try:
            run = read_run(path)
        except OSError as error:
            yield _unreadable(home, path, error)
            continue
        except WarehouseError:
            yield _case(home, "damaged-run", path, "is not a valid run record", partial(take_away, home, path))
            continue
        if not (run.finished or run.error or may_be_running(run)):
            what = f"began {run.started[:19]} on {run.host} and never ended"
            yield _case(home, "stale-run", path, what, partial(end, home, run))


def _check_snapshots(home: Home, shown: Shown, *, idle: bool) -> Iterator[_Case]:
    moved = []
    shown.current = _current(home)
    pruned = sorted(home.snapshots.glob(".pruned-*.duckdb")) if idle else []  # the next prune reads and deletes them
    for path in (*map(home.snapshot, numbers(home)), *pruned):
        try:
            root = recorded_root(path)
            with open_path(home, path) as connection:
                facts = recorded_facts(connection)
                ((model, mesh),) = connection.execute("SELECT model_version, mesh_version FROM snapshot").fetchall()
        except (WarehouseError, duckdb.Error) as error:
            if unreadable(error):
                shown.complete = False
                yield _unreadable(home, path, error)
            else:
                yield _case(home, "damaged-snapshot", path, _reason(error), partial(take_away, home, path))
            continue
        if path in pruned:
            continue
        number = int(path.stem)
        if root != literal_path(home.root):
            moved.append(number)
        if shown.current not in shown.good:
            shown.versions = Versions(model, mesh).folder
        shown.good.append(number)
        for name, fact in facts.items():
            shown.named[name] = (fact, [*shown.named.get(name, (fact, []))[1], number])
    if moved:
        yield _case(home, "moved-home", home.snapshots, f"{_listed(moved)} read from another folder")


def _check_rollbacks(home: Home) -> Iterator[_Case]:
    """Check the record of rollbacks. No repair: without the record, withdrawn snapshots could be shown again."""
    try:
        rollbacks(home)
    except WarehouseError:
        yield _case(home, "damaged-rollbacks", rollbacks_path(home), "is not a valid record of rollbacks")


def _check_link(home: Home, shown: Shown) -> Iterator[_Case]:
    link, number = home.warehouse, linked_number(home)
    if number in shown.good or not shown.complete or not (shown.good or link.is_symlink() or link.exists()):
        return
    what = f"links to snapshot {number}, which cannot be read" if number is not None else "is not a link to a snapshot"
    yield _case(home, "broken-link", link, what, partial(link_again, home, shown))


def _current(home: Home) -> int | None:
    """Return the number that the link names, or that of a copied snapshot in its place (`cp -rL` makes one)."""
    number = linked_number(home)
    if number is None and home.warehouse.exists():
        with suppress(WarehouseError, duckdb.Error, ValueError), open_path(home, home.warehouse) as connection:
            ((number,),) = connection.execute("SELECT number FROM snapshot").fetchall()
    return number


def _check_named_files(home: Home, shown: Shown) -> Iterator[_Case]:
    for name, (recorded, named_by) in sorted(shown.named.items()):
        path = home.root / name
        fix = rewrite(home, path, shown)
        try:
            path.stat()
            facts = file_facts(path)
        except (FileNotFoundError, NotADirectoryError):
            yield _case(home, "missing-file", path, f"is named by {_listed(named_by)}", fix)
            continue
        except (WarehouseError, OSError) as error:
            if unreadable(error):
                yield _unreadable(home, path, error)
            else:
                yield _case(home, "damaged-file", path, _reason(error), fix)
            continue
        if facts != recorded:
            what = (
                f"has {facts.rows:,} rows, {facts.bytes:,} bytes, SHA-256 {facts.sha256[:12]}; published were "
                f"{recorded.rows:,} rows, {recorded.bytes:,} bytes, {recorded.sha256[:12]}"
            )
            yield _case(home, "damaged-file", path, what, fix)


def _check_other_files(home: Home, shown: Shown, *, idle: bool) -> Iterator[_Case]:
    """Check the Parquet files that no snapshot names: unpublished, unfinished, or left to delete."""
    done = {path.name for path in (home.root / "mentions").glob("*/*.parquet")}
    running = _has_active_run(home)
    for folder in (*PARSED, "mentions", "entities", "compacted"):
        for path in sorted((home.root / folder).rglob("*")):
            if path.is_dir() or path.name.startswith(".") or _relative(home, path) in shown.named:
                continue
            if path.suffix != ".parquet":
                yield _case(home, "foreign-file", path, "is not a Parquet file")
            elif folder == "compacted":
                if idle:
                    yield _case(home, "orphan-file", path, "is merged from others", partial(take_away, home, path))
            elif (error := _read_error(path)) is not None:
                if unreadable(error):
                    yield _unreadable(home, path, error)
                else:
                    what = _reason(error).split(";")[0]
                    yield _case(home, "damaged-file", path, what, rewrite(home, path, shown))
            elif folder in PARSED and path.name not in done and not running:
                what = "was parsed, and no model has finished it"
                yield _case(home, "unfinished-source", path, what, partial(take_away, home, path))


def _check_models(home: Home) -> Iterator[_Case]:
    """Check the models and the champion. No repair: without the history, the bundled model would become champion."""
    folder = home.model("any").parent
    for path in sorted(folder.glob("[!.]*/")):
        try:
            if not (path / "added.json").exists():
                yield _case(home, "damaged-model", path, "has no added.json")
            check_files(path)
        except WarehouseError as error:
            yield _case(home, "damaged-model", error.path or path, error.reason.split(";")[0])
        except OSError as error:
            yield _unreadable(home, path, error)
    try:
        changes(home)
    except WarehouseError:
        yield _case(home, "damaged-champion", folder / "champion.json", "is not a valid champion history")


def _check_leftovers(home: Home, *, idle: bool) -> Iterator[_Case]:
    for path in sorted(home.root.rglob(".writing-*")):
        if path.exists() and not is_locked(path):
            yield _case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(sweep_beside, path))
    for path in sorted([*home.banks.glob("*.tmp"), *home.banks.glob("*.part")]):
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            yield _case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(delete, path))
    if idle:
        for path in (home.root / ".warehouse.duckdb", *sorted(home.snapshots.glob(".building.duckdb*"))):
            if path.is_symlink() or path.is_file():
                yield _case(home, "leftover", path, "of a publish", partial(delete, path))


def _check_dumps(home: Home) -> Iterator[_Case]:
    for path, kept in sorted(kept_digests(home).items()):
        try:
            if kept.is_of(path) and (found := digest_file(path)) != kept.digest:
                what = f"has digest {found}, was read as {kept.digest}; its size and time are the same"
                yield _case(home, "changed-dump", path, what, partial(forget, home, path))
        except OSError as error:
            yield _unreadable(home, path, error)


def _read_error(path: Path) -> WarehouseError | OSError | None:
    try:
        with path.open("rb") as file:  # reports errors of the system, which Arrow may not
            file.read(1)
        read_metadata(path)
        verify_pages(path)
    except (WarehouseError, OSError) as error:
        return error
    return None


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, WarehouseError) else one_line(error)


def _unreadable(home: Home, path: Path, error: Exception) -> _Case:
    return _case(home, "unreadable", path, unreadable(error) or one_line(error))


def _case(home: Home, code: str, path: Path, what: str, fix: Repair | None = None) -> _Case:
    return _Case(Finding(code, _relative(home, path), what), fix)


def _relative(home: Home, path: Path) -> str:
    return (path.relative_to(home.root) if path.is_relative_to(home.root) else path).as_posix()


def _listed(found: list[int]) -> str:
    return f"snapshot{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"
