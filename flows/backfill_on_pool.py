"""`backfill` as a deployment: all sources of the tables annotated with another model by the workers, then published.

Readers see the former model until every source is done. `flows.backfill` does the same in one process, or for chosen
documents alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from prefect import flow
from prefect.logging import get_run_logger

from flows.annotate import IncompleteError
from flows.backfill import stored_sources, unfinished
from flows.pool import annotate_on_pool
from flows.queues import BACKFILL
from flows.settings import Device, read_settings
from tasks.errors import ProblemsError
from warehouse.errors import OvertakenError
from warehouse.layout import Home
from warehouse.snapshots.publish import current_snapshot, publish, still_current


@flow(name="backfill", flow_run_name="backfill", persist_result=False)
def backfill_on_pool(
    home: Path | None = None, model: str | None = None, mesh: str | None = None, device: Device | None = None
) -> None:
    """Annotate all that the tables show with another model on the workers of the pool, and publish it.

    No dump file is needed. What is done is not done again, so a run that failed needs no more than the next one. Fails,
    after all others are done and with nothing published, where a source cannot be annotated.

    Args:
        home: folder of the tables; without it that of the settings.
        model: version of a model in the home, or a model folder; without it the home's champion.
        mesh: version of MeSH in the home, or an entities table; without it that of the tables.
        device: where the model runs; auto is cuda where there is one.
    """
    settings = read_settings(home=home, device=device)
    place = Home(settings.home)
    current = current_snapshot(place)
    if current is None:
        get_run_logger().info(f"{place.root} has no snapshot yet, and nothing to annotate again")
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
        except IncompleteError as error:  # a source that was cut short is as whole as it was
            outcome = error.outcome
        if failed := failed | outcome.failed:
            raise ProblemsError(f"{name}: {reason}" for name, reason in failed.items())
        found, linked = outcome.versions.model, outcome.versions.mesh
        now = still_current(place, current, model_version=found, mesh_version=linked)
        if not unfinished(place, outcome.versions):
            with suppress(OvertakenError):
                publish(place, model_version=found, mesh_version=linked, over=now)
                return
