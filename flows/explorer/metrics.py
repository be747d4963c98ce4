"""The metrics of the home, for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from e2emern.flows.explorer.site import site_of
from e2emern.flows.metrics import metrics_text


def metrics(request: Request) -> Response:
    """Return the metrics of the home in Prometheus' text format."""
    return Response(metrics_text(site_of(request).home), headers={"content-type": CONTENT_TYPE_LATEST})
