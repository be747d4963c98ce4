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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from e2emern.warehouse.doctor_findings import Case, Finding, case, relative, unreadable_case
from e2emern.warehouse.doctor_records import (
    check_checkpoint,
    check_evaluations,
    check_home_format,
    check_models,
    check_rollbacks,
    check_runs,
    has_active_run,
    refuse_other_format,
)
from e2emern.warehouse.doctor_repairs import PARSED, Shown, delete, forget, link_again, rewrite, sweep_beside, take_away
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import is_locked
from e2emern.warehouse.layout import Home, Versions, digest_file
from e2emern.warehouse.parquet import read_metadata, verify_pages
from e2emern.warehouse.quarantine import made_again
from e2emern.warehouse.quoting import identifier, literal_path
from e2emern.warehouse.snapshots.file_stats import file_facts, recorded_facts
from e2emern.warehouse.snapshots.opening import attach, connected
from e2emern.warehouse.snapshots.reader import open_path
from e2emern.warehouse.snapshots.refs import linked_number, numbers, publisher, relocate
from e2emern.warehouse.sources.hash_cache import kept_digests
from e2emern.warehouse.unreadable import unreadable
from e2emern.warehouse.wording import one_line

CODES: Final = {
    "no-format": "format.json is missing: an older release made the home, or the file was lost",
    "damaged-format": "format.json cannot be read",
    "unreadable": "the file cannot be read now; that does not mean that it is damaged",
    "broken-link": "warehouse.duckdb does not link to a readable snapshot",
    "damaged-snapshot": "a snapshot cannot be read",
    "moved-home": "snapshots read files from the home's former location",
    "missing-file": "a file that a snapshot names does not exist",
    "damaged-file": "a file differs from what was published, or is not a Parquet file",
    "changed-dump": "the content of a dump file has changed, but not its size and modification time",
    "unfinished-source": "a run ended before it had annotated the source",
    "orphan-file": "no snapshot names the file and no run needs it",
    "foreign-file": "the file was not written by e2emern",
    "leftover": "a writer ended before it had finished the file",
    "quarantined": "a sound file has replaced it",
    "stale-run": "a run never ended: it was killed",
    "damaged-run": "the record of a run cannot be read",
    "damaged-checkpoint": "the checkpoint of the run records cannot be read",
    "damaged-rollbacks": "the record of rollbacks cannot be read",
    "damaged-model": "a file of a model differs from what was added",
    "damaged-champion": "the history of champions cannot be read",
    "damaged-evaluation": "an evaluation differs from what was written",
}
"""What each finding means."""

_OF_SOURCES = ("missing-file", "damaged-file", "unfinished-source")  # not repaired while a run is active
_ABANDONED_S = 3600.0  # a half-written cache untouched for this long has no writer


def examine(home: Home, *, repair: bool = False) -> list[Finding]:
    """Return every problem of a home; with `repair`, also repair what is safe to repair.

    Reads every file that a snapshot names, and every dump file whose digest is cached. A repair holds the publisher's
    lock. Raises `WarehouseError` if the home does not exist or has another format, or if a repair of the link needs the
    record of rollbacks and it is malformed.
    """
    home.check()
    home = Home(home.root.resolve())
    refuse_other_format(home)
    findings = []
    with publisher(home) if repair else nullcontext():
        before = {*home.runs.glob("*.json")}
        cases = list(_cases(home, locked=repair))
        unknown = any(one.finding.code == "unreadable" for one in cases)
        active = has_active_run(home) or before != {*home.runs.glob("*.json")}  # or one began meanwhile
        for one in cases:
            blocked = unknown or (active and one.finding.code in _OF_SOURCES)
            findings.append(_repaired(one) if repair and not blocked else one.finding)
        if repair and not unknown:
            findings += _release(home, {home.root / finding.path for finding in findings})
    if repair and not unknown and any(finding.code == "moved-home" for finding in findings):
        relocate(home)  # takes the lock itself
        findings = [
            replace(found, repaired="they now read from here") if found.code == "moved-home" else found
            for found in findings
        ]
    return findings


def _cases(home: Home, *, locked: bool) -> Iterator[Case]:
    idle = locked or not is_locked(home.lock)
    shown = Shown()
    for check in (
        _check_folders(home),
        check_runs(home),
        check_checkpoint(home),
        _check_snapshots(home, shown, idle=idle),
        check_home_format(home, shown),
        check_rollbacks(home),
        _check_link(home, shown),
        _check_named_files(home, shown),
        _check_other_files(home, shown, idle=idle),
        _check_parts(home),
        check_models(home),
        check_evaluations(home),
        _check_leftovers(home, idle=idle),
        _check_dumps(home),
    ):
        try:
            yield from check
        except OSError as error:
            yield unreadable_case(home, Path(error.filename or home.root), error)


def _repaired(one: Case) -> Finding:
    """Repair what was found, if possible, and return the finding with what was done."""
    try:
        return replace(one.finding, repaired=one.repair()) if one.repair else one.finding
    except OSError as error:
        return replace(one.finding, what=f"{one.finding.what}; not repaired: {error.strerror or one_line(error)}")


def _release(home: Home, found: set[Path]) -> Iterator[Finding]:
    """Delete the files in quarantine that exist again, except those with a finding."""
    for path, kept in made_again(home).items():
        if path not in found:
            for one in kept:
                one.unlink()
                yield Finding("quarantined", relative(home, one), "was written again", repaired="deleted")


def _check_folders(home: Home) -> Iterator[Case]:
    """Find folders that cannot be listed: all files in them would seem to be missing."""
    errors: list[OSError] = []
    for _ in os.walk(home.root, onerror=errors.append):
        pass
    for error in errors:
        if unreadable(error):
            yield unreadable_case(home, Path(error.filename), error)


def _check_snapshots(home: Home, shown: Shown, *, idle: bool) -> Iterator[Case]:
    moved = []
    shown.current = _current(home)
    pruned = sorted(home.snapshots.glob(".pruned-*.duckdb")) if idle else []  # the next prune reads and deletes them
    for path in (*map(home.snapshot, numbers(home)), *pruned):
        try:
            with connected(home.root) as connection:
                root = attach(connection, path, "opened")
                connection.execute("USE opened")
                _read_tables(connection)
                facts = recorded_facts(connection)
                ((model, mesh),) = connection.execute("SELECT model_version, mesh_version FROM snapshot").fetchall()
        except (WarehouseError, duckdb.Error) as error:
            if unreadable(error):
                shown.complete = False
                yield unreadable_case(home, path, error)
            else:
                yield case(home, "damaged-snapshot", path, _reason(error), partial(take_away, home, path))
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
        yield case(home, "moved-home", home.snapshots, f"{_listed(moved)} read from another folder")


def _read_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every block of an open snapshot: DuckDB verifies a checksum when it reads one."""
    for (table,) in connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'opened'"
    ).fetchall():
        connection.execute(f"SELECT bit_xor(hash(each)) FROM opened.main.{identifier(table)} AS each").fetchall()


def _check_link(home: Home, shown: Shown) -> Iterator[Case]:
    link, number = home.warehouse, linked_number(home)
    if number in shown.good or not shown.complete or not (shown.good or link.is_symlink() or link.exists()):
        return
    what = f"links to snapshot {number}, which cannot be read" if number is not None else "is not a link to a snapshot"
    yield case(home, "broken-link", link, what, partial(link_again, home, shown))


def _current(home: Home) -> int | None:
    """Return the number that the link names, or that of a copied snapshot in its place (`cp -rL` makes one)."""
    number = linked_number(home)
    if number is None and home.warehouse.exists():
        with suppress(WarehouseError, duckdb.Error, ValueError), open_path(home, home.warehouse) as connection:
            ((number,),) = connection.execute("SELECT number FROM snapshot").fetchall()
    return number


def _check_named_files(home: Home, shown: Shown) -> Iterator[Case]:
    for name, (recorded, named_by) in sorted(shown.named.items()):
        path = home.root / name
        fix = rewrite(home, path, shown)
        try:
            path.stat()
            facts = file_facts(path)
        except (FileNotFoundError, NotADirectoryError):
            yield case(home, "missing-file", path, f"is named by {_listed(named_by)}", fix)
            continue
        except (WarehouseError, OSError) as error:
            if unreadable(error):
                yield unreadable_case(home, path, error)
            else:
                yield case(home, "damaged-file", path, _reason(error), fix)
            continue
        if facts != recorded:
            what = (
                f"has {facts.rows:,} rows, {facts.bytes:,} bytes, SHA-256 {facts.sha256[:12]}; published were "
                f"{recorded.rows:,} rows, {recorded.bytes:,} bytes, {recorded.sha256[:12]}"
            )
            yield case(home, "damaged-file", path, what, fix)


def _check_other_files(home: Home, shown: Shown, *, idle: bool) -> Iterator[Case]:
    """Check the Parquet files that no snapshot names: unpublished, unfinished, or left to delete."""
    done = {path.name for path in (home.root / "mentions").glob("*/*.parquet")}
    running = has_active_run(home)
    for folder in (*PARSED, "mentions", "entities", "compacted"):
        for path in sorted((home.root / folder).rglob("*")):
            if path.is_dir() or path.name.startswith(".") or relative(home, path) in shown.named:
                continue
            if path.suffix != ".parquet":
                yield case(home, "foreign-file", path, "is not a Parquet file")
            elif folder == "compacted":
                if idle:
                    yield case(home, "orphan-file", path, "is merged from others", partial(take_away, home, path))
            elif (error := _read_error(path)) is not None:
                if unreadable(error):
                    yield unreadable_case(home, path, error)
                else:
                    what = _reason(error).split(";")[0]
                    yield case(home, "damaged-file", path, what, rewrite(home, path, shown))
            elif folder in PARSED and path.name not in done and not running:
                what = "was parsed, but no model has finished annotating it"
                yield case(home, "unfinished-source", path, what, partial(take_away, home, path))


def _check_parts(home: Home) -> Iterator[Case]:
    """Check the parts of sources that are not done: the next run continues from them."""
    for path in sorted((home.root / "parts").rglob("[!.]*")):
        if path.is_dir():
            continue
        name = f"{path.parent.name}.parquet"
        if path.suffix != ".parquet":
            yield case(home, "foreign-file", path, "is not a Parquet file")
        elif (home.root / "mentions" / path.parent.parent.name / name).exists():
            yield case(home, "leftover", path, "of a source that is done", partial(delete, path))
        elif (error := _read_error(path)) is not None:
            if unreadable(error):
                yield unreadable_case(home, path, error)
            else:
                yield case(home, "damaged-file", path, _reason(error).split(";")[0], partial(take_away, home, path))
        elif not (home.root / "documents" / name).exists():
            yield case(
                home, "orphan-file", path, "is part of a source without documents", partial(take_away, home, path)
            )


def _check_leftovers(home: Home, *, idle: bool) -> Iterator[Case]:
    for path in sorted(home.root.rglob(".writing-*")):
        if path.exists() and not is_locked(path):
            yield case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(sweep_beside, path))
    for path in sorted([*home.banks.glob("*.tmp"), *home.banks.glob("*.part")]):
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            yield case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(delete, path))
    if idle:
        for path in (home.root / ".warehouse.duckdb", *sorted(home.snapshots.glob(".building.duckdb*"))):
            if path.is_symlink() or path.is_file():
                yield case(home, "leftover", path, "of a publish", partial(delete, path))


def _check_dumps(home: Home) -> Iterator[Case]:
    for path, kept in sorted((Path(name), kept) for name, kept in kept_digests(home).items()):
        try:
            if kept.is_of(path) and (found := digest_file(path)) != kept.digest:
                what = f"has digest {found}, had {kept.digest} when it was read; size and time are unchanged"
                yield case(home, "changed-dump", path, what, partial(forget, home, path))
        except OSError as error:
            yield unreadable_case(home, path, error)


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


def _listed(found: list[int]) -> str:
    return f"snapshot{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"
