"""Examines a home: every file against what was recorded of it, and whatever has no business there.

Each finding has a code; `docs/doctor.md` says for each what it means and what to do. A repair never destroys what could
not be made again: it deletes leftovers, and files that are damaged, so that the next run makes them anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from warehouse.errors import WarehouseError
from warehouse.files import is_locked, sweep
from warehouse.layout import Home, digest_file
from warehouse.parquet import read_metadata
from warehouse.snapshots.file_stats import FileFacts, file_facts, recorded_facts
from warehouse.snapshots.publish import open_path
from warehouse.snapshots.refs import (
    linked_number,
    numbers,
    point,
    publisher,
    recorded_root,
    relocate,
    rollbacks,
    rollbacks_path,
    withdrawn,
)
from warehouse.snapshots.views import literal_path
from warehouse.sources.hash_cache import forget_digest, kept_digests
from warehouse.sources.runs import RunRecord, may_be_running, read_run, write_run

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
    "damaged-rollbacks": "the record of rollbacks cannot be read",
}
"""What each finding means."""

_OF_SOURCES = ("missing-file", "damaged-file", "unfinished-source")  # not repaired while a run goes on
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

    current: int | None  # number of the current one, whether it can be read or not
    good: list[int] = field(default_factory=list)  # numbers, ascending
    versions: str = ""  # folder of the mentions that the current one shows, or the newest where that cannot be read
    named: dict[str, tuple[FileFacts, list[int]]] = field(default_factory=dict)  # by path: facts, who names it


def examine(home: Home, *, repair: bool = False) -> list[Finding]:
    """Returns everything that is wrong with a home, and with `repair` puts right what is safe to.

    Reads every file that a snapshot names, and every dump file whose digest is kept. A repair waits for a publisher and
    keeps others waiting. Raises `WarehouseError` when the home is not there, or the record of rollbacks, which a repair
    of the link heeds, is of another form.
    """
    home.check()
    home = Home(home.root.resolve())
    findings = []
    with publisher(home) if repair else nullcontext():
        before = {*home.runs.glob("*.json")}
        cases = list(_cases(home, locked=repair))
        met = _runs_go_on(home) or before != {*home.runs.glob("*.json")}  # a run may have begun while files were read
        for case in cases:
            hindered = met and case.finding.code in _OF_SOURCES
            done = case.cure() if repair and case.cure and not hindered else None
            findings.append(replace(case.finding, repaired=done))
    if repair and any(finding.code == "moved-home" for finding in findings):
        relocate(home)  # takes the lock itself
        findings = [
            replace(one, repaired="they read from here now") if one.code == "moved-home" else one for one in findings
        ]
    return findings


def _cases(home: Home, *, locked: bool) -> Iterator[_Case]:
    idle = locked or not is_locked(home.lock)
    yield from _of_runs(home)
    shown = _Shown(_current(home))
    yield from _of_snapshots(home, shown, idle=idle)
    yield from _of_rollbacks(home)
    yield from _of_link(home, shown)
    yield from _of_named_files(home, shown)
    yield from _of_other_files(home, shown, idle=idle)
    yield from _of_leftovers(home, idle=idle)
    yield from _of_dumps(home)


def _runs_go_on(home: Home) -> bool:
    for path in home.runs.glob("*.json"):
        with suppress(WarehouseError):
            if may_be_running(read_run(path)):
                return True
    return False


def _of_runs(home: Home) -> Iterator[_Case]:
    for path in sorted(home.runs.glob("*.json")):
        try:
            run = read_run(path)
        except WarehouseError:
            yield _case(home, "damaged-run", path, "is no record of a run", partial(_set_aside, path))
            continue
        if not (run.finished or run.error or may_be_running(run)):
            what = f"began {run.started[:19]} on {run.host} and never ended"
            yield _case(home, "stale-run", path, what, partial(_end, home, run))


def _of_snapshots(home: Home, shown: _Shown, *, idle: bool) -> Iterator[_Case]:
    moved = []
    pruned = sorted(home.snapshots.glob(".pruned-*.duckdb")) if idle else []  # the next prune reads and deletes them
    for path in (*map(home.snapshot, numbers(home)), *pruned):
        try:
            root = recorded_root(path)
            with open_path(home, path) as connection:
                facts = recorded_facts(connection)
                versions = connection.execute("SELECT model_version, mesh_version FROM snapshot").fetchall()
        except (WarehouseError, duckdb.Error) as error:
            what = _one_line(error).removeprefix(f"{path} ")
            yield _case(home, "damaged-snapshot", path, what, partial(_set_aside, path))
            continue
        if path in pruned:
            continue
        number = int(path.stem)
        if root != literal_path(home.root):
            moved.append(number)
        if shown.current not in shown.good:
            shown.versions = home.mentions_folder(model_version=versions[0][0], mesh_version=versions[0][1]).name
        shown.good.append(number)
        for name, fact in facts.items():
            shown.named[name] = (fact, [*shown.named.get(name, (fact, []))[1], number])
    if moved:
        yield _case(home, "moved-home", home.snapshots, f"{_listed(moved)} read from another folder")


def _of_rollbacks(home: Home) -> Iterator[_Case]:
    """Not repaired: without the record, what was withdrawn could come back."""
    try:
        rollbacks(home)
    except WarehouseError:
        yield _case(home, "damaged-rollbacks", rollbacks_path(home), "is no record of rollbacks")


def _of_link(home: Home, shown: _Shown) -> Iterator[_Case]:
    link, number = home.warehouse, linked_number(home)
    if number in shown.good or not (shown.good or link.is_symlink() or link.exists()):
        return
    what = f"links to snapshot {number}, which cannot be read" if number is not None else "is no link to a snapshot"
    yield _case(home, "broken-link", link, what, partial(_link, home, shown))


def _current(home: Home) -> int | None:
    """The number that the link names, or that a copy of a snapshot in its place has, as `cp -rL` makes one."""
    number = linked_number(home)
    if number is None and home.warehouse.exists():
        with suppress(WarehouseError, duckdb.Error, ValueError), open_path(home, home.warehouse) as connection:
            ((number,),) = connection.execute("SELECT number FROM snapshot").fetchall()
    return number


def _of_named_files(home: Home, shown: _Shown) -> Iterator[_Case]:
    for name, (recorded, named_by) in sorted(shown.named.items()):
        path = home.root / name
        cure = _redoing(home, path, shown)
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


def _of_other_files(home: Home, shown: _Shown, *, idle: bool) -> Iterator[_Case]:
    """Parquet files that no snapshot names: work that is done but not published, half done, or to be deleted."""
    done = {path.name for path in (home.root / "mentions").glob("*/*.parquet")}
    running = _runs_go_on(home)
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
                yield _case(home, "damaged-file", path, damage, _redoing(home, path, shown))
            elif folder in _PARSED and path.name not in done and not running:
                what = "was parsed, and no model has finished it"
                yield _case(home, "unfinished-source", path, what, partial(_delete, path))


def _of_leftovers(home: Home, *, idle: bool) -> Iterator[_Case]:
    for path in sorted(home.root.rglob(".writing-*")):
        if path.exists() and not is_locked(path):
            yield _case(home, "leftover", path, f"{path.stat().st_size:,} bytes", partial(_sweep, path))
    for path in sorted([*home.banks.glob("*.tmp"), *home.banks.glob("*.part")]):
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
    return partial(_delete_source, home, path, shown)


def _delete_source(home: Home, path: Path, shown: _Shown) -> str:
    """Deletes a file of a source, and the mentions that make the source count as done.

    Of a parsed file these are the current snapshot's, and those that no snapshot names, with what their model could not
    read. Those of earlier snapshots stay: what is parsed again is the same, byte for byte.
    """
    own = path.parent.name
    (home.root / "mentions" / (shown.versions if own in _PARSED else own) / path.name).unlink(missing_ok=True)
    if own in _PARSED:
        for folder in ("mentions", "failures"):
            for other in (home.root / folder).glob(f"*/{path.name}"):
                if _relative(home, other) not in shown.named:
                    other.unlink()
    return _delete(path, then="annotate its source again")


def _delete(path: Path, *, then: str | None = None) -> str:
    path.unlink(missing_ok=True)
    return f"deleted; {then}" if then else "deleted"


def _sweep(path: Path) -> str:
    sweep(path.parent)
    return "its writer lives" if path.exists() else "deleted"


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


def _link(home: Home, shown: _Shown) -> str:
    """Links to the snapshot that was shown, or else the newest before it that was not withdrawn, if any is good."""
    link, number, aside = home.warehouse, shown.current, ""
    if number not in shown.good:
        if link.exists() and not link.is_symlink():  # of no snapshot that there is, so perhaps the only copy
            aside = f"{_set_aside(link)}; "
        out = withdrawn(home)
        standing = [one for one in shown.good if one not in out]
        earlier = [one for one in standing if number is None or one < number]
        number = max(earlier or standing or shown.good, default=None)
    if number is None:
        link.unlink(missing_ok=True)
        return f"{aside}nothing is shown until the next publish, which begins anew"
    point(home, number)
    return f"{aside}it shows snapshot {number} now"


def _damage(path: Path) -> str | None:
    try:
        read_metadata(path)
    except WarehouseError as error:
        return _one_line(error).removeprefix(f"{path} ").split(";")[0]
    return None


def _case(home: Home, code: str, path: Path, what: str, cure: _Cure | None = None) -> _Case:
    return _Case(Finding(code, _relative(home, path), what), cure)


def _relative(home: Home, path: Path) -> str:
    return (path.relative_to(home.root) if path.is_relative_to(home.root) else path).as_posix()


def _listed(found: list[int]) -> str:
    return f"snapshot{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
