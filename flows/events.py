"""Events of a home, to which automations react: triggers of deployments, and the alerts of `flows.notifications`."""

from __future__ import annotations

from prefect.events import emit_event
from prefect.logging import get_run_logger

from e2emern.warehouse.layout import Home

DRIFT = "e2emern.drift"
"""The last night has drifted."""
CORRECTIONS = "e2emern.corrections"
"""Corrections are pending. Emitted every night until a retraining has used them."""
MESH_VERSION = "e2emern.mesh"
"""The home has a new version of MeSH."""
PROMOTED = "e2emern.promoted"
"""A model became the champion; `e2emern.backfill` of its resource (yes or no) requests a backfill."""
PUBLISHED = "e2emern.published"
"""A night ended, and the tables show everything that it could annotate."""
REFUSED = "e2emern.refused"
"""A gate refused to publish (`what` is `publish`) or to promote (`model`), with the `reason`."""


def emit(home: Home, event: str, payload: dict[str, object], **labels: str) -> None:
    """Emit an event of a home, and log it; `labels` are further labels of its resource."""
    resource = {"prefect.resource.id": f"e2emern.home.{home.root.name}", "e2emern.home": str(home.root)}
    emit_event(event, resource=resource | labels, payload=payload)
    get_run_logger().info(f"{event}: {payload}")
