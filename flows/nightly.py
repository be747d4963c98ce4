"""The `nightly` deployment: fetch new files, annotate them on the workers, publish, check for drift, report problems.

A failure in one step does not stop the others. A file that cannot be fetched or read is reported at the end. The next
night tries it again, since each night does all unfinished work.

A night uses the model and the MeSH version of the current snapshot. `backfill` moves all sources to a new champion, and
`refresh-mesh` to a new MeSH; the next night then uses it, and so does one that is running at that time.

Deploy it with `e2emern deploy`, which also schedules it, and run it now with `prefect deployment run nightly/nightly`.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from e2emern.flows.annotate import IncompleteError, Outcome, without_withdrawn
from e2emern.flows.artifacts import show_night
from e2emern.flows.drift import watch
from e2emern.flows.events import PUBLISHED, REFUSED, emit
from e2emern.flows.pool import annotate_on_pool
from e2emern.flows.retries import is_transient
from e2emern.flows.run_names import named
from e2emern.flows.settings import Settings, SourceAddress, read_settings
from e2emern.tasks.errors import InputError, ProblemsError
from e2emern.tasks.ingest import FileOutcome, Limits, find_gaps, ingest
from e2emern.tasks.resolve import require_snapshot_model, snapshot_mesh
from e2emern.tasks.sources import Source, find_sources
from e2emern.warehouse.errors import OvertakenError, PublishRefusedError
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.wording import one_line


@task(
    task_run_name="fetch into {home.root}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=60,
    retry_condition_fn=is_transient,
)
def fetch(sources: list[str], home: Home, *, pattern: str, limits: Limits) -> list[FileOutcome]:
    """Fetch the dump files that are new or changed."""
    return ingest(sources, home.dumps, pattern=pattern, limits=limits)


@flow(name="nightly", flow_run_name=named("nightly"), persist_result=False)
def nightly(
    home: Path | None = None,
    sources: list[SourceAddress] | None = None,
    pattern: str | None = None,
    model: str | None = None,
    mesh: str | None = None,
) -> None:
    """Fetch new dump files, annotate them on the workers of the pool, and publish what is done.

    Fails, after all other work is done and published, if a file could not be fetched or annotated, or the numbers of
    the PubMed files have a gap.

    Args:
        home: folder of the tables; this and all parameters below are by default those of the settings.
        sources: folders, or addresses of HTTP listings.
        pattern: which files of the sources to fetch.
        model: version of a model in the home, or a model folder; if the settings name none, that of the tables.
        mesh: version of MeSH in the home, or an entities table; if the settings name none, that of the tables.
    """
    begun = time.monotonic()
    settings = read_settings(home=home, sources=sources, pattern=pattern, model=model, mesh=mesh)
    get_run_logger().info(f"settings: {settings.in_force()}")
    place = open_home(settings.home)
    files, problems = list[FileOutcome](), list[str]()
    try:
        files = fetch(
            settings.sources, place, pattern=settings.pattern, limits=Limits(largest=int(settings.max_gb * 1e9))
        )
        problems = [f"{one.name}: {one.reason}" for one in files if one.outcome == "failed"]
    except InputError as error:  # the folder of dumps cannot be used, or another process fetches into it
        problems = [str(error)]
    problems += find_gaps(place)
    passed_over: dict[str, str] = {}
    outcome = _annotated(place, settings, passed_over)
    problems += [*(f"{path}: {reason}" for path, reason in passed_over.items()), *outcome.problems]
    drift = None
    if outcome.snapshot:
        drift = watch(place, limits=settings.drift)
        emit(place, PUBLISHED, {"snapshot": outcome.snapshot.number, "documents": outcome.snapshot.documents})
    show_night(
        outcome,
        place,
        fetched=Counter(one.outcome for one in files),
        seconds=time.monotonic() - begun,
        drift=drift,
        explorer=settings.explorer,
    )
    if problems:
        raise ProblemsError(problems)


def _annotated(home: Home, settings: Settings, passed_over: dict[str, str]) -> Outcome:
    """Annotate and publish, and add the files that cannot be sources to `passed_over`.

    If another model or MeSH version was published meanwhile, do it again with that.
    """
    while True:
        current = current_snapshot(home)
        model, mesh = settings.model or require_snapshot_model(home), settings.mesh or snapshot_mesh(home)
        try:
            return annotate_on_pool(
                _dumps(home, passed_over), home, model=model, mesh=mesh, settings=settings, over=current
            )
        except IncompleteError as error:
            return error.outcome
        except OvertakenError:
            get_run_logger().info("another snapshot was published meanwhile: annotating again with its model and MeSH")
        except PublishRefusedError as error:
            emit(home, REFUSED, {"what": "publish", "reason": one_line(error)})
            raise


def _dumps(home: Home, passed_over: dict[str, str]) -> list[Source]:
    """Return the dump files of a home; none on a first night that could fetch nothing."""
    if not any(home.dumps.glob("[!.]*")):
        return []
    found = find_sources([home.dumps], home=home, report=passed_over.__setitem__)
    return without_withdrawn(found, home)[0]
