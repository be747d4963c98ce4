"""The repairs of the doctor: each changes one thing in a home and returns what it did, as text.

A repair moves a damaged file to quarantine, so that the next run writes it again. It deletes only unfinished files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import sweep
from e2emern.warehouse.home_format import write_format
from e2emern.warehouse.layout import Home
from e2emern.warehouse.quarantine import quarantine
from e2emern.warehouse.snapshots.compaction import merge_again, merged_groups
from e2emern.warehouse.snapshots.file_stats import FileFacts, file_facts
from e2emern.warehouse.snapshots.reader import open_path
from e2emern.warehouse.snapshots.refs import set_current, withdrawn
from e2emern.warehouse.sources.hash_cache import forget_digest
from e2emern.warehouse.sources.history import sum_up
from e2emern.warehouse.sources.runs import RunRecord, end_killed

PARSED = ("documents", "deletions", "failures")
"""Folders of files by source, the same for every model."""

Repair = Callable[[], str | None]


@dataclass(slots=True)
class Shown:
    """What all readable snapshots show together; `complete` if no snapshot is unreadable."""

    current: int | None = None  # number of the current one, readable or not
    good: list[int] = field(default_factory=list)  # numbers, ascending
    complete: bool = True
    versions: str = ""  # folder of the mentions of the current one, or of the newest if that is unreadable
    named: dict[str, tuple[FileFacts, list[int]]] = field(default_factory=dict)  # by path: facts, snapshots
    taken: set[Path] = field(default_factory=set)  # files of sources that a repair has moved to quarantine


def rewrite(home: Home, path: Path, shown: Shown) -> Repair | None:
    """Return the repair that makes the next run write a file again; None for the vocabulary, which needs an import."""
    folder, *_ = path.relative_to(home.root).parts
    if folder == "entities":
        return None
    if folder == "compacted":
        return partial(_merge_again, home, path, shown)
    return partial(_take_source, home, path, shown)


def _merge_again(home: Home, path: Path, shown: Shown) -> str | None:
    """Merge a file again from the files of its sources, if they are as published; else move it to quarantine.

    The damaged file is deleted only if the new one has the SHA-256 of its publication. A publish merges only what its
    own snapshot reads, so without this repair a file of an earlier snapshot would stay missing.
    """
    name = path.relative_to(home.root).as_posix()
    recorded, named_by = shown.named[name]
    others = {other: facts for other, (facts, _) in shown.named.items() if other != name}
    was_there = path.exists()
    with suppress(WarehouseError), _replacing(home, path):  # a damaged file of a source is a case of its own
        with open_path(home, home.snapshot(named_by[-1])) as connection:
            group = merged_groups(connection)[name]
        merge_again(home, name, group, facts=others)
        if file_facts(path) == recorded:
            return "merged again"
        path.unlink()  # another version of Arrow may write other bytes, or a source was annotated again
    return "moved to quarantine; the next publish merges the files it needs" if was_there else None


def _take_source(home: Home, path: Path, shown: Shown) -> str | None:
    """Move a file of a source to quarantine, and the mentions that mark the source as done.

    For a parsed file, these are the mentions of the current snapshot, and the unpublished mentions with their failures.
    The mentions of earlier snapshots are kept, because they fit the documents that are parsed again.
    """
    own, advice = path.parent.name, "moved to quarantine; annotate its source again"
    if path in shown.taken:  # a repair of the same source
        return advice
    taken = [home.root / "mentions" / (shown.versions if own in PARSED else own) / path.name]
    if own in PARSED:
        for folder in ("mentions", "failures"):
            others = (home.root / folder).glob(f"*/{path.name}")
            taken += [other for other in others if other.relative_to(home.root).as_posix() not in shown.named]
    moved = [take_away(home, other) for other in dict.fromkeys((*taken, path))]
    shown.taken |= {*taken, path}
    return advice if any(moved) else None


def delete(path: Path) -> str:
    """Delete an unfinished file."""
    path.unlink(missing_ok=True)
    return "deleted"


def sweep_beside(path: Path) -> str:
    """Delete a temporary file, and others in its folder, unless their writers are running."""
    sweep(path.parent)
    return "its writer is running" if path.exists() else "deleted"


def take_away(home: Home, path: Path) -> str | None:
    """Move a file to quarantine; None if there is none."""
    try:
        quarantine(home, path)
    except FileNotFoundError:  # another repair has moved it, or it is the missing file
        return None
    return "moved to quarantine"


def forget(home: Home, path: Path) -> str:
    """Drop the stored digest of a dump file."""
    forget_digest(home, path)
    return "the next run reads it again"


def name_format(home: Home) -> str:
    """Write `format.json` of a home that has the format of this release."""
    with _replacing(home, home.format):
        write_format(home)
    return "written again"


def make_checkpoint(home: Home) -> str | None:
    """Sum up the run records again; None if one of them cannot be read."""
    with suppress(WarehouseError), _replacing(home, home.runs_checkpoint):
        sum_up(home, least=0)
        return "written again"
    return None


@contextmanager
def _replacing(home: Home, path: Path) -> Iterator[None]:
    """Keep a file in quarantine until the block has written it again."""
    aside = quarantine(home, path) if path.exists() else None
    yield
    if aside and path.exists():
        aside.unlink()


def end(home: Home, run: RunRecord) -> str:
    """Record that a run was killed."""
    end_killed(home, [run])
    return "recorded as killed"


def link_again(home: Home, shown: Shown) -> str:
    """Link to the snapshot that was current, or else to the newest readable one before it that was not withdrawn."""
    link, number, aside = home.warehouse, shown.current, ""
    if number not in shown.good:
        if link.exists() and not link.is_symlink():  # a copy of no known snapshot, so perhaps the only one
            aside = f"{take_away(home, link)}; "
        excluded = withdrawn(home)
        active = [one for one in shown.good if one not in excluded]
        earlier = [one for one in active if number is None or one < number]
        number = max(earlier or active or shown.good, default=None)
    if number is None:
        link.unlink(missing_ok=True)
        return f"{aside}nothing is shown until the next publish, which starts over"
    set_current(home, number)
    return f"{aside}it now shows snapshot {number}"
