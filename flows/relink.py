"""Link the stored mentions to a new version of MeSH, source by source, and publish a new snapshot.

Sources that are done are skipped, so the next run continues a stopped one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from e2emern.model.inference.cascade import Cascade
from e2emern.model.progress import Progress, silent
from e2emern.model.vocabulary import bag_of_words
from e2emern.tasks.devices import pick_device
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import load, read_versions
from e2emern.tasks.relink import Relinked, relink_source
from e2emern.tasks.resolve import find_model, snapshot_model
from e2emern.warehouse.errors import NoSnapshotError
from e2emern.warehouse.files import sweep
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.mesh.changes import mesh_changes
from e2emern.warehouse.mesh.entities import entities_path
from e2emern.warehouse.snapshots.publish import publish, still_current
from e2emern.warehouse.snapshots.publish_gate import Limits
from e2emern.warehouse.snapshots.reader import Snapshot, current_snapshot, current_sources
from e2emern.warehouse.sources.counts import pending, read_source_summary
from e2emern.warehouse.sources.history import recorded_run
from e2emern.warehouse.sources.runs import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RelinkOutcome:
    """The result of a run: the linked sources, the number of sources done before, and the published snapshot."""

    old: str
    new: str
    sources: dict[SourceKey, Relinked]
    before: int
    snapshot: Snapshot

    def total(self, figure: str) -> int:
        """Return the sum of a field of `Relinked` over all sources."""
        return sum(getattr(one, figure) for one in self.sources.values())


def relink(
    home: Path,
    *,
    mesh: str,
    model: Path | str | None = None,
    device: str = "auto",
    limits: Limits | None = None,
    progress: Progress = silent,
) -> RelinkOutcome:
    """Relink the stored mentions that a version of MeSH in the home affects, copy the others, and publish.

    The model is by default that of the tables if it is bundled or in the home, otherwise the champion. Does nothing
    if the current snapshot is already linked to this version. `progress` counts the sources, and the word pieces
    of the bank if it has to be built.

    Raises InputError if the model is not that of the current snapshot or cannot be used, WarehouseError if the home has
    no snapshot or not this version, or refuses the new snapshot.
    """
    place = open_home(home)
    current = current_snapshot(place)
    if current is None:
        raise NoSnapshotError(home)
    if mesh == current.mesh_version:
        return RelinkOutcome(old=mesh, new=mesh, sources={}, before=current.sources, snapshot=current)
    table = entities_path(place, mesh_version=mesh)
    folder = find_model(model or snapshot_model(place), home=place)
    old, new = current.versions, read_versions(folder, table)
    if new.model != old.model:
        raise InputError(
            f"is model {new.model}, but the mentions of {home} are of {old.model}; give its folder with --model",
            path=folder,
        )
    pick_device(device)
    sweep(place.root)
    before = len(_sources(place, old)) - len(_left(place, old=old, new=new))

    @cache
    def cascade() -> Cascade:
        return load(folder, table, home=place, device=device, progress=progress)

    sources, snapshot = _relink_sources(place, current, new, cascade=cascade, limits=limits, progress=progress)
    return RelinkOutcome(old=old.mesh, new=new.mesh, sources=sources, before=before, snapshot=snapshot)


def _relink_sources(
    home: Home,
    current: Snapshot,
    new: Versions,
    *,
    cascade: Callable[[], Cascade],
    limits: Limits | None,
    progress: Progress,
) -> tuple[dict[SourceKey, Relinked], Snapshot]:
    """Relink every source that is not done, publish, and record both as one run."""
    old = current.versions
    todo = _left(home, old=old, new=new)
    sources: dict[SourceKey, Relinked] = {}
    with (
        recorded_run(
            home,
            current_sources(home),  # so that no older content of the same name replaces them
            new,
            todo=set(todo),
            options={"relink": old.mesh},
            with_outcomes=lambda run: _with_outcomes(run, sources, todo),
        ),
        mesh_changes(home, old=old.mesh, new=new.mesh, fold=bag_of_words) as changes,
    ):
        while True:  # a night may finish further sources meanwhile
            now = still_current(home, current, new)
            if not (todo := _left(home, old=old, new=new)):
                break
            total = len(sources) + len(todo)
            for key in todo:
                progress("sources", len(sources), total)
                sources[key] = relink_source(key, home=home, changes=changes, old=old, cascade=cascade)
        return sources, publish(home, new, operation="relink", over=now, limits=limits)


def _left(home: Home, *, old: Versions, new: Versions) -> list[SourceKey]:
    return pending(home, _sources(home, old), new)


def _sources(home: Home, versions: Versions) -> list[SourceKey]:
    folder = home.mentions_folder(versions)
    return [read_source_summary(path).key for path in sorted(folder.glob("[!.]*.parquet"))]


def _with_outcomes(run: RunRecord, done: dict[SourceKey, Relinked], todo: list[SourceKey]) -> RunRecord:
    waiting = set(todo)
    outcomes = []
    for source in run.sources:
        outcome = "annotated" if source.key in done else "not reached" if source.key in waiting else "unchanged"
        outcomes.append(replace(source, outcome=outcome))
    stages = {
        figure: sum(getattr(one, figure) for one in done.values())
        for figure in ("mentions", "documents", "spans", "changed", "unread")
    }
    return replace(run, sources=tuple(outcomes), stages=stages)
