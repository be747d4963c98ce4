"""Withdraw a source: its documents leave the tables, and earlier revisions in other sources are shown again.

A withdrawal is the record of a run. While it is the newest record of the source's name, no snapshot includes the
source; any later run that has the source as an input brings it back. Nothing is deleted here: `prune` deletes the
files when no snapshot needs them. A kill leaves the source either as it was, or withdrawn but not yet published;
then the same call publishes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import version

from e2emern.warehouse.errors import NoSnapshotError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.login import login
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.publish_gate import Limits
from e2emern.warehouse.snapshots.reader import Snapshot, current_snapshot, current_sources
from e2emern.warehouse.snapshots.refs import active_rollback
from e2emern.warehouse.sources.history import WITHDRAWN, read_history
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome, begin_run, finish_run, write_run

_NO_LIMITS = Limits(least_documents=sys.maxsize)  # what is withdrawn is meant to be lost


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Who withdrew a source, when and why."""

    source: str
    when: str  # ISO 8601, UTC
    by: str
    why: str | None


def withdraw(home: Home, name: str, *, why: str | None = None) -> Snapshot:
    """Withdraw the source of this name, and publish the tables without it; only publish if it is withdrawn already.

    Raises WarehouseError if the home has no such source or no other, a rollback is active, or nothing can be published.
    """
    home.check()
    current = current_snapshot(home)
    if current is None:
        raise NoSnapshotError(home.root)
    history = read_history(home)
    shown = {key.name for key in current_sources(home)}
    withdrawn = {key.name for key in history.withdrawn}
    if name not in shown | withdrawn:
        close = get_close_matches(name, shown, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise WarehouseError(f"has no source {name}{hint} (e2emern sources list)", path=home.root)
    if rollback := active_rollback(home):
        raise WarehouseError(
            f"nothing was withdrawn: {rollback.by} went back to snapshot {rollback.shown}; publish first with "
            "e2emern snapshots publish --accept WHY"
        )
    if not shown - withdrawn - {name}:
        raise WarehouseError(f"holds no source but {name}; annotate others first, or delete the folder", path=home.root)
    if name not in withdrawn:
        key = history.latest.get(name) or next(key for key in current_sources(home) if key.name == name)
        options = {"operation": "withdraw", "by": login(), **({"why": why} if why else {})}
        run = begin_run(history.runs, versions={"e2emern": version("e2emern")}, options=options)
        write_run(home, finish_run(replace(run, sources=(SourceOutcome(key.name, key.digest, WITHDRAWN),))))
    return publish(home, current.versions, operation="withdraw", limits=_NO_LIMITS)


def withdrawals(home: Home) -> list[Withdrawal]:
    """Return what is withdrawn now, oldest first. Raises WarehouseError for a malformed record."""
    history = read_history(home)
    runs = {run.run_id: run for run in history.runs}
    found = {run_id: name for name, run_id in history.withdrawn_by.items()}
    return [_withdrawal(runs[run_id], name) for run_id, name in sorted(found.items()) if run_id in runs]


def _withdrawal(run: RunRecord, name: str) -> Withdrawal:
    return Withdrawal(name, run.started, str(run.options.get("by", "")), run.options.get("why"))
