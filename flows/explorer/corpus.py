"""The page of the whole corpus: nights, growth, failures, drift, concepts."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from e2emern.flows.explorer.site import page, site_of
from e2emern.tasks.evaluation.drift import DriftLimits, drift


def corpus(request: Request) -> Response:
    """Answer `/corpus`."""
    limits = DriftLimits()
    with site_of(request).snapshots.session() as session:
        nights = session.nights(last=limits.nights + 1)
        growth = session.figure("corpus-growth")
        return page(
            request,
            "corpus.html",
            session,
            title="Corpus",
            nights=nights,
            drift=drift(nights[-1], nights[:-1], limits=limits) if nights else None,
            limits=limits,
            growth=growth,
            growing=[(str(row["night"]), row["documents_so_far"]) for row in growth.rows],
            documents=[(night.date, night.documents) for night in nights],
            mentions=[(night.date, night.mentions) for night in nights],
            failures=session.named("failures"),
            concepts=session.figure("corpus-concepts"),
            unlinked=session.figure("corpus-unlinked"),
        )
