"""The repairs of the doctor: each changes one thing in a home and returns what it did, as text.

A repair moves a damaged file to quarantine, so that the next run writes it again. It deletes only unfinished files.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import sweep
from e2emern.warehouse.home_format import write_format
from e2emern.warehouse.layout import Home
from e2emern.warehouse.quarantine import quarantine
from e2emern.warehouse.snapshots.file_stats import FileFacts
from e2emern.warehouse.snapshots.refs import set_current, withdrawn
from e2emern.warehouse.sources.hash_cache import forget_digest
from e2emern.warehouse.sources.history import sum_up
from e2emern.warehouse.sources.runs import RunRecord, write_run

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


def rewrite(home: Home, path: Path, shown: Shown) -> Repair | None:
    """Return the repair that makes the next run write a file again; None for the vocabulary, which needs an import."""
    folder, *_ = path.relative_to(home.root).parts
    if folder == "entities":
        return None
    if folder == "compacted":
        return partial(take_away, home, path, then="the next publish merges it again")
    return partial(_take_source, home, path, shown)


def _take_source(home: Home, path: Path, shown: Shown) -> str:
    """Move a file of a source to quarantine, and the mentions that mark the source as done.

    For a parsed file, these are the mentions of the current snapshot, and the unpublished mentions with their failures.
    The mentions of earlier snapshots are kept, because they fit the documents that are parsed again.
    """
    own = path.parent.name
    taken = [home.root / "mentions" / (shown.versions if own in PARSED else own) / path.name]
    if own in PARSED:
        for folder in ("mentions", "failures"):
            others = (home.root / folder).glob(f"*/{path.name}")
            taken += [other for other in others if other.relative_to(home.root).as_posix() not in shown.named]
    for other in taken:
        if other != path:
            take_away(home, other)
    return take_away(home, path, then="annotate its source again")


def delete(path: Path) -> str:
    """Delete an unfinished file."""
    path.unlink(missing_ok=True)
    return "deleted"


def sweep_beside(path: Path) -> str:
    """Delete a temporary file, and others in its folder, unless their writers are running."""
    sweep(path.parent)
    return "its writer is running" if path.exists() else "deleted"


def take_away(home: Home, path: Path, *, then: str | None = None) -> str:
    """Move a file to quarantine. `then` is what writes it again."""
    with suppress(FileNotFoundError):  # another repair has moved it, or it is the missing file
        quarantine(home, path)
    return f"moved to quarantine; {then}" if then else "moved to quarantine"


def forget(home: Home, path: Path) -> str:
    """Drop the stored digest of a dump file."""
    forget_digest(home, path)
    return "the next run reads it again"


def name_format(home: Home) -> str:
    """Write `format.json` of a home that has the format of this release."""
    take_away(home, home.format)
    write_format(home)
    return "written again"


def make_checkpoint(home: Home) -> str | None:
    """Sum up the run records again; None if one of them cannot be read."""
    take_away(home, home.runs_checkpoint)
    with suppress(WarehouseError):
        sum_up(home, least=0)
        return "written again"
    return None


def end(home: Home, run: RunRecord) -> str:
    """Record that a run was killed."""
    write_run(home, replace(run, error="killed: it never ended"))
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
    return f"{aside}it shows snapshot {number} now"
