"""The night: fetch what is new, have it annotated by the workers, publish, look for drift, tell what became of it.

What one step cannot do stops no other: a file that cannot be fetched or read is told at the end, and the next night
takes it up again, since a night does what is not done and nothing else.

A night keeps to the model and the vocabulary that the tables are of. A new champion takes over with `backfill`, a new
MeSH with `refresh-mesh`: they carry all sources over, and the next night follows; so does one that was under way.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.annotate import IncompleteError, Outcome
from flows.annotate_sources import is_transient
from flows.artifacts import show_night
from flows.drift import watch
from flows.pool import annotate_on_pool
from flows.settings import Device, Settings, read_settings
from tasks.errors import InputError, ProblemsError
from tasks.ingest import FileOutcome, ingest
from tasks.resolve import require_snapshot_model, snapshot_mesh
from tasks.sources import Source, find_sources
from warehouse.errors import OvertakenError
from warehouse.layout import Home
from warehouse.snapshots.publish import current_snapshot


@task(
    task_run_name="fetch into {home.root}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=60,
    retry_condition_fn=is_transient,
)
def fetch(sources: list[str], home: Home, *, pattern: str) -> list[FileOutcome]:
    """Fetch the dump files that are new or changed."""
    return ingest(sources, home.dumps, pattern=pattern)


@flow(name="nightly", flow_run_name="nightly", persist_result=False)
def nightly(
    home: Path | None = None,
    sources: list[str] | None = None,
    pattern: str | None = None,
    model: str | None = None,
    mesh: str | None = None,
    device: Device | None = None,
) -> None:
    """Fetch new dump files, annotate them on the workers of the pool, and publish what is done.

    Fails, after all that can be done is done and published, where a file could not be fetched or annotated.

    Args:
        home: folder of the tables; without it, as everything below, that of the settings.
        sources: folders, or addresses of HTTP listings.
        pattern: which files of the sources.
        model: version of a model in the home, or a model folder; if the settings name none, that of the tables.
        mesh: version of MeSH in the home, or an entities table; if the settings name none, that of the tables.
        device: where the model runs; auto is cuda where there is one.
    """
    begun = time.monotonic()
    settings = read_settings(home=home, sources=sources, pattern=pattern, model=model, mesh=mesh, device=device)
    place = Home(settings.home)
    files, problems = list[FileOutcome](), list[str]()
    try:
        files = fetch(settings.sources, place, pattern=settings.pattern)
        problems = [f"{one.name}: {one.reason}" for one in files if one.outcome == "failed"]
    except InputError as error:  # the folder of dumps cannot be used, or somebody else fetches into it
        problems = [str(error)]
    outcome = _annotated(place, settings)
    problems += outcome.problems
    if outcome.snapshot:
        watch(place)
    show_night(outcome, place, fetched=Counter(one.outcome for one in files), seconds=time.monotonic() - begun)
    if problems:
        raise ProblemsError(problems)


def _annotated(home: Home, settings: Settings) -> Outcome:
    """Annotate and publish; again where the tables went over to another model or MeSH meanwhile, and with that."""
    while True:
        current = current_snapshot(home)
        model, mesh = settings.model or require_snapshot_model(home), settings.mesh or snapshot_mesh(home)
        try:
            return annotate_on_pool(_dumps(home), home, model=model, mesh=mesh, settings=settings, over=current)
        except IncompleteError as error:
            return error.outcome
        except OvertakenError:
            get_run_logger().info("another snapshot was published meanwhile: once more, with its model and MeSH")


def _dumps(home: Home) -> list[Source]:
    """The dump files of a home; none on the first night, where nothing could be fetched."""
    return find_sources([home.dumps], home=home) if any(home.dumps.glob("[!.]*")) else []
