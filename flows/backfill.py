"""The `backfill` deployment: annotate all documents of the home again with another model, and publish the result.

No dump file is needed. The unit of work is a source, as in `flows.annotate`. The current snapshot keeps the mentions
of the previous model until all its sources are annotated with the new one. `backfill_on_pool` is the deployed flow,
which uses the workers of the pool; `backfill` does the same in this process, without a server.

Deploy it with `e2emern deploy`, and run it with `prefect deployment run backfill/backfill --param model=7f16417c594a`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from prefect import flow
from prefect.logging import get_run_logger

from e2emern.flows.annotate import IncompleteError, Work, begin_in, local_worker, run_sources
from e2emern.flows.pool import annotate_on_pool
from e2emern.flows.queues import BACKFILL
from e2emern.flows.run_names import named
from e2emern.flows.settings import read_settings
from e2emern.model.progress import Progress, silent
from e2emern.tasks.annotate import Annotated
from e2emern.tasks.devices import describe_device
from e2emern.tasks.errors import ProblemsError
from e2emern.tasks.models import keep_vocabulary, read_versions
from e2emern.tasks.resolve import find_mesh, find_model
from e2emern.tasks.sources import Source
from e2emern.warehouse.errors import NoSnapshotError, OvertakenError, WarehouseError
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.snapshots.publish import publish, still_current
from e2emern.warehouse.snapshots.reader import Snapshot, current_snapshot, current_sources
from e2emern.warehouse.sources.counts import pending, read_parse_summary
from e2emern.warehouse.wording import plural


@dataclass(slots=True, kw_only=True)
class Backfilled:
    """The result of a run; `documents`, `carried` and `mentions` count what it annotated."""

    versions: Versions
    documents: int = 0
    carried: int = 0  # documents whose mentions were reused
    mentions: int = 0
    before: int = 0  # documents that were done before this run
    failed: dict[str, str] = field(default_factory=dict)  # source name to the reason
    sources: int = 0  # in the current snapshot
    waiting: int = 0  # sources that are not completely annotated
    snapshot: Snapshot | None = None

    def add(self, done: Annotated) -> None:
        """Add the counts of an annotated source, or of a part of one."""
        self.documents += done.summary.counts.documents
        self.carried += done.summary.counts.carried
        self.mentions += done.mentions


def backfill(
    home: Path,
    *,
    model: Path | str,
    mesh: Path | str | None = None,
    device: str = "auto",
    publishing: bool = False,
    progress: Progress = silent,
) -> Backfilled:
    """Annotate the sources of the current snapshot with another model, and return the result.

    `mesh` is an entities table or a version in the home, by default the snapshot's. Sources that are done are skipped,
    so the same call resumes after an interruption. `publishing` makes the result the current snapshot. `progress`
    counts the word pieces of the bank, if it has to be built, and then the documents of all remaining sources.

    Raises InputError if the model, the vocabulary or the device cannot be used. Raises WarehouseError if the home has
    no snapshot, or if the result cannot be published: not all sources are done with this model, or the gate refuses it.
    """
    place = open_home(home)
    current = current_snapshot(place)
    if current is None:
        raise NoSnapshotError(home)
    table = find_mesh(Path(mesh or current.mesh_version), home=place)
    folder = find_model(model, home=place)
    outcome = Backfilled(versions=read_versions(folder, table))
    used = describe_device(device)
    begin_in(place)
    keep_vocabulary(place, table, mesh_version=outcome.versions.mesh)

    sources, outcome.failed = stored_sources(place)
    work = local_worker(place, model=folder, mesh=table, device=device, progress=progress)
    _annotate(sources, place, outcome, work=work, device=used)

    now = still_current(place, current, outcome.versions) if publishing else None
    outcome.sources, outcome.waiting = len(current_sources(place)), len(unfinished(place, outcome.versions))
    if publishing:
        _check_whole(outcome)
        outcome.snapshot = publish(place, outcome.versions, operation="backfill", over=now)
    return outcome


@flow(name="backfill", flow_run_name=named("backfill"), persist_result=False)
def backfill_on_pool(home: Path | None = None, model: str | None = None, mesh: str | None = None) -> None:
    """Annotate all sources of the tables with another model on the workers of the pool, and publish the result.

    No dump file is needed. Sources that are done are skipped, so the next run continues a failed one. If a source
    cannot be annotated, fails after all others are done, and publishes nothing.

    Args:
        home: folder of the tables; by default that of the settings.
        model: version of a model in the home, or a model folder; by default the home's champion.
        mesh: version of MeSH in the home, or an entities table; by default that of the tables.
    """
    settings = read_settings(home=home)
    place = open_home(settings.home)
    current = current_snapshot(place)
    if current is None:
        get_run_logger().info(f"{place.root} has no snapshot yet, so there is nothing to annotate again")
        return
    while True:  # a night may publish more sources meanwhile
        sources, failed = stored_sources(place)
        try:
            outcome = annotate_on_pool(
                sources,
                place,
                model=model,
                mesh=mesh or current.mesh_version,
                settings=settings,
                queue=BACKFILL,
                publishing=False,
            )
        except IncompleteError as error:  # the truncated sources have no more records than before
            outcome = error.outcome
        if failed := failed | outcome.failed:
            raise ProblemsError(f"{name}: {reason}" for name, reason in failed.items())
        now = still_current(place, current, outcome.versions)
        if not unfinished(place, outcome.versions):
            with suppress(OvertakenError):
                publish(place, outcome.versions, operation="backfill", over=now, limits=settings.publishing)
                return


def unfinished(home: Home, versions: Versions) -> list[SourceKey]:
    """Return the sources of the current snapshot that are not completely annotated with these versions."""
    return pending(home, current_sources(home), versions)


def _annotate(sources: list[Source], home: Home, outcome: Backfilled, *, work: Work, device: str) -> None:
    options = {"backfill": "all", "device": device}
    try:
        done = run_sources(sources, home, versions=outcome.versions, options=options, work=work, publishing=False)
    except IncompleteError as error:  # the truncated sources have no more records than before
        done = error.outcome
    for one in done.annotated:
        outcome.add(one)
    outcome.before = sum(summary.counts.documents for summary in done.unchanged)
    outcome.failed |= done.failed


def stored_sources(home: Home) -> tuple[list[Source], dict[str, str]]:
    """Return the sources of the snapshot with stored documents, and the reason for each one that cannot be read.

    Dump files are not needed.
    """
    found, failed = [], {}
    for key in current_sources(home):
        files = (home.documents(key), home.deletions(key), home.failures(key))
        try:
            summary = read_parse_summary(home.documents(key))
            if missing := [path for path in files if not path.exists()]:
                raise WarehouseError(f"{missing[0]} is missing; see e2emern doctor")
            found.append(Source(home.documents(key), key, summary.bytes))
        except WarehouseError as error:
            failed[key.name] = str(error)
    return found, failed


def _check_whole(outcome: Backfilled) -> None:
    if outcome.waiting:
        raise WarehouseError(
            f"{outcome.waiting:,} of {plural(outcome.sources, 'source')} not done with model {outcome.versions.model} "
            f"and MeSH {outcome.versions.mesh}, and their documents would be missing; nothing was published"
        )
