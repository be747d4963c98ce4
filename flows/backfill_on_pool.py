"""`backfill` as a deployment: the workers annotate all sources of the tables with another model, then it publishes.

Readers see the mentions of the previous model until then. `flows.backfill` does the same in one process.
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
from warehouse.snapshots.publish import publish, still_current
from warehouse.snapshots.reader import current_snapshot


@flow(name="backfill", flow_run_name="backfill", persist_result=False)
def backfill_on_pool(
    home: Path | None = None, model: str | None = None, mesh: str | None = None, device: Device | None = None
) -> None:
    """Annotate all sources of the tables with another model on the workers of the pool, and publish the result.

    No dump file is needed. Sources that are done are skipped, so the next run continues a failed one. Fails if a source
    cannot be annotated, after all others are done; nothing is published then.

    Args:
        home: folder of the tables; without it that of the settings.
        model: version of a model in the home, or a model folder; without it the home's champion.
        mesh: version of MeSH in the home, or an entities table; without it that of the tables.
        device: device for the model; auto is cuda if available.
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
        except IncompleteError as error:  # the truncated sources have no more records than before
            outcome = error.outcome
        if failed := failed | outcome.failed:
            raise ProblemsError(f"{name}: {reason}" for name, reason in failed.items())
        now = still_current(place, current, outcome.versions)
        if not unfinished(place, outcome.versions):
            with suppress(OvertakenError):
                publish(place, outcome.versions, operation="backfill", over=now)
                return
