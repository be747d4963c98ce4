"""Examines a home: every file against what was recorded of it, and whatever has no business there.

Each finding has a code; `docs/doctor.md` says for each what it means and what to do. A repair never destroys what could
not be made again: it deletes leftovers, and files that are damaged, so that the next run makes them anew.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from warehouse.catalog import literal_path
from warehouse.checksums import FileFacts, file_facts, recorded_facts
from warehouse.digests import forget_digest, kept_digests
from warehouse.errors import WarehouseError
from warehouse.files import is_locked, sweep
from warehouse.layout import Home, digest_file
from warehouse.parquet import read_metadata
from warehouse.runs import RunRecord, may_be_running, read_run, write_run
from warehouse.shelf import numbers, point, publisher, recorded_root, relocate
from warehouse.snapshot import open_path

CODES: Final = {
    "broken-link": "warehouse.duckdb shows no snapshot that can be read",
    "damaged-snapshot": "a snapshot cannot be read",
    "moved-home": "snapshots read from where the home was before",
    "missing-file": "a file that a snapshot names is not there",
    "damaged-file": "a file is not what was published, or no Parquet file",
    "changed-dump": "a dump file has other content, though it looks as it did when it was read",
    "unfinished-source": "a run ended before it had annotated the source",
    "orphan-file": "no snapshot names the file and no run needs it",
    "foreign-file": "the file is none of ours",
    "leftover": "a writer ended before it had finished the file",
    "stale-run": "a run never ended: it was killed",
    "damaged-run": "the record of a run cannot be read",
}
"""What each finding means."""

_PARSED = ("documents", "deletions", "failures")  # folders of files by source, whichever model reads them
_COLD_S = 3600.0  # a half-written cache that nobody has touched for so long has no writer


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a home. A `path` in it is relative to it; `repaired` says what was done about it."""

    code: str
    path: str
    what: str
    repaired: str | None = None


_Cure = Callable[[], str]  # returns what it did


@dataclass(frozen=True, slots=True)
class _Case:
    finding: Finding
    cure: _Cure | None = None


@dataclass(slots=True)
class _Shown:
    """What the snapshots that can be read show together."""

    good: list[int] = field(default_factory=list)  # numbers, ascending
    versions: str = ""  # folder of the mentions that the current one shows, or the newest where that cannot be read
    named: dict[str, tuple[FileFacts, list[int]]] = field(default_factory=dict)  # by path: facts, who names it


def examine(home: Home, *, repair: bool = False) -> list[Finding]:
    """Returns everything that is wrong with a home, and with `repair` puts right what is safe to.

    Reads every file that a snapshot names, and every dump file whose digest is kept. A repair waits for a publisher and
    keeps others waiting. Raises `WarehouseError` when the home is not there.
    """
    home.check()
    home = Home(home.root.resolve())
    findings = []
    with publisher(home) if repair else nullcontext():
        for case in list(_cases(home, locked=repair)):
            done = case.cure() if repair and case.cure else None
            findings.append(replace(case.finding, repaired=done))
    if repair and any(finding.code == "moved-home" for finding in findings):
        relocate(home)  # takes the lock itself
        findings = [
            replace(one, repaired="they read from here now") if one.code == "moved-home" else one for one in findings
        ]
    return findings


def _cases(home: Home, *, locked: bool) -> Iterator[_Case]:
    idle = locked or not is_locked(home.lock)
    runs: list[RunRecord] = []
    yield from _of_runs(home, runs)
    running = any(may_be_running(run) for run in runs)
    shown = _Shown()
    yield from _of_snapshots(home, shown)
    yield from _of_link(home, shown)
    yield from _of_named_files(home, shown, running=running)
    yield from _of_other_files(home, shown, running=running, idle=idle)
    yield from _of_leftovers(home, idle=idle)
    yield from _of_dumps(home)


def _of_runs(home: Home, runs: list[RunRecord]) -> Iterator[_Case]:
    for path in sorted(home.runs.glob("*.json")):
        try:
            run = read_run(path)
        except WarehouseError:
            yield _case(home, "damaged-run", path, "is no record of a run", partial(_set_aside, path))
            continue
        runs.append(run)
        if not (run.finished or run.error or may_be_running(run)):
            what = f"began {run.started[:19]} on {run.host} and never ended"
            yield _case(home, "stale-run", path, what, partial(_end, home, run))


def _of_snapshots(home: Home, shown: _Shown) -> Iterator[_Case]:
    moved, current = [], _linked(home)
    for number in numbers(home):
        path = home.snapshot(number)
        try:
            if recorded_root(path) != literal_path(home.root):
                moved.append(number)
            with open_path(home, path) as connection:
                facts = recorded_facts(connection)
                versions = connection.execute("SELECT model_version, mesh_version FROM snapshot").fetchall()
        except (WarehouseError, duckdb.Error) as error:
            what = _one_line(error).removeprefix(f"{path} ")
            yield _case(home, "damaged-snapshot", path, what, partial(_set_aside, path))
            continue
        if current not in shown.good:
            shown.versions = home.mentions_folder(model_version=versions[0][0], mesh_version=versions[0][1]).name
        shown.good.append(number)
        for name, fact in facts.items():
            shown.named[name] = (fact, [*shown.named.get(name, (fact, []))[1], number])
    if moved:
        yield _case(home, "moved-home", home.snapshots, f"{_listed(moved)} read from another folder")


def _of_link(home: Home, shown: _Shown) -> Iterator[_Case]:
    link, number = home.warehouse, _linked(home)
    if number in shown.good or not (shown.good or link.is_symlink() or link.exists()):
        return
    what = f"links to snapshot {number}, which cannot be read" if number is not None else "is no link to a snapshot"
    # never forward: what stands above may have been withdrawn by a rollback
    better = [one for one in shown.good if number is None or one < number] or shown.good
    yield _case(home, "broken-link", link, what, partial(_point, home, better[-1]) if better else None)


def _linked(home: Home) -> int | None:
    """The number of the snapshot that the link names; None where it is no link to one."""
    target = home.warehouse.readlink().stem if home.warehouse.is_symlink() else ""
    return int(target) if target.isdigit() else None


def _of_named_files(home: Home, shown: _Shown, *, running: bool) -> Iterator[_Case]:
    for name, (recorded, named_by) in sorted(shown.named.items()):
        path = home.root / name
        cure = None if running else _redoing(home, path, shown)
        if not path.exists():
            yield _case(home, "missing-file", path, f"is named by {_listed(named_by)}", cure)
            continue
        try:
            facts = file_facts(path)
        except WarehouseError as error:
            yield _case(home, "damaged-file", path, str(error).removeprefix(f"{path} "), cure)
            continue
        if facts != recorded:
            what = (
                f"has {facts.rows:,} rows, {facts.bytes:,} bytes, SHA-256 {facts.sha256[:12]}; published were "
                f"{recorded.rows:,} rows, {recorded.bytes:,} bytes, {recorded.sha256[:12]}"
            )
            yield _case(home, "damaged-file", path, what, cure)


def _of_other_files(home: Home, shown: _Shown, *, running: bool, idle: bool) -> Iterator[_Case]:
    """Parquet files that no snapshot names: work that is done but not published, half done, or to be deleted."""
    done = {path.name for path in (home.root / "mentions").glob("*/*.parquet")}
    for folder in (*_PARSED, "mentions", "entities", "compacted"):
        for path in sorted((home.root / folder).rglob("*")):
            if path.is_dir() or path.name.startswith(".") or _relative(home, path) in shown.named:
                continue
            if path.suffix != ".parquet":
                yield _case(home, "foreign-file", path, "is no Parquet file")
            elif folder == "compacted":
                if idle:
                    yield _case(home, "orphan-file", path, "is merged from others", partial(_delete, path))
            elif (damage := _damage(path)) is not None:
                yield _case(home, "damaged-file", path, damage, None if running else _redoing(home, path, shown))
            elif folder in _PARSED and path.name not in done and not running:
                what = "was parsed, and no model has finished it"
                yield _case(home, "unfinished-source", path, what, partial(_delete, path))


def _of_leftovers(home: Home, *, idle: bool) -> Iterator[_Case]:
    for path in sorted(home.root.rglob(".writing-*")):
        if _is_abandoned(path):
            yield _case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(_sweep, path))
    for path in sorted(home.banks.glob("*.tmp")):
        if time.time() - path.stat().st_mtime > _COLD_S:
            yield _case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(_delete, path))
    if idle:
        for path in (home.root / ".warehouse.duckdb", *sorted(home.snapshots.glob(".building.duckdb*"))):
            if path.is_symlink() or path.is_file():
                yield _case(home, "leftover", path, "of a publish", partial(_delete, path))


def _of_dumps(home: Home) -> Iterator[_Case]:
    for path, kept in sorted(kept_digests(home).items()):
        with suppress(OSError):
            if kept.is_of(path) and (found := digest_file(path)) != kept.digest:
                what = f"has digest {found}, was read as {kept.digest}; its size and time are the same"
                yield _case(home, "changed-dump", path, what, partial(_forget, home, path))


def _redoing(home: Home, path: Path, shown: _Shown) -> _Cure | None:
    """What makes the next run write a file again, None for the vocabulary, which only its import can write."""
    folder, *_ = path.relative_to(home.root).parts
    if folder == "entities":
        return None
    if folder == "compacted":
        return partial(_delete, path, then="the next publish merges it again")
    return partial(_delete_source, home, path, shown.versions)


def _delete_source(home: Home, path: Path, versions: str) -> str:
    """Deletes a file of a source, and its mentions by one model: the source counts as not done for that one then.

    Mentions of other models stay: what is parsed again is the same, byte for byte.
    """
    own = path.parent.name
    folder = home.root / "mentions" / (versions if own in _PARSED else own)
    (folder / path.name).unlink(missing_ok=True)
    return _delete(path, then="annotate its source again")


def _delete(path: Path, *, then: str | None = None) -> str:
    path.unlink(missing_ok=True)
    return f"deleted; {then}" if then else "deleted"


def _sweep(path: Path) -> str:
    return "deleted" if path in sweep(path.parent) else "its writer lives"


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    return f"set aside as {aside.name}"


def _forget(home: Home, path: Path) -> str:
    forget_digest(home, path)
    return "the next run reads it again"


def _end(home: Home, run: RunRecord) -> str:
    write_run(home, replace(run, error="killed: it never ended"))
    return "recorded as killed"


def _point(home: Home, number: int) -> str:
    point(home, number)
    return f"it shows snapshot {number} now"


def _damage(path: Path) -> str | None:
    try:
        read_metadata(path)
    except WarehouseError as error:
        return _one_line(error).removeprefix(f"{path} ").split(";")[0]
    return None


def _is_abandoned(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _case(home: Home, code: str, path: Path, what: str, cure: _Cure | None = None) -> _Case:
    return _Case(Finding(code, _relative(home, path), what), cure)


def _relative(home: Home, path: Path) -> str:
    return (path.relative_to(home.root) if path.is_relative_to(home.root) else path).as_posix()


def _listed(found: list[int]) -> str:
    return f"snapshot{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
