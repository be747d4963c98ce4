"""The report of a home: nights, concepts, failures, scores and drift."""

from __future__ import annotations

from e2emern.flows.report import render
from e2emern.tasks.evaluation.drift import DriftLimits, drift
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.overview import BINS, overview

NIGHTS = 60


def home_report(home: Home, *, last: int = NIGHTS) -> str:
    """Return the report of the current snapshot, with the `last` nights. Raises `WarehouseError` if there is none."""
    limits = DriftLimits()
    found = overview(home, last=max(last, limits.nights + 1))
    shown = found.nights[-last:]
    return render(
        "home.html",
        title="Report of a home",
        home=str(home.root),
        found=found,
        snapshot=found.snapshot,
        nights=shown,
        documents=[(night.date, night.documents) for night in shown],
        mentions=[(night.date, night.mentions) for night in shown],
        unlinked=[(night.date, (night.mentions - night.linked) / max(night.mentions, 1)) for night in shown],
        scores=[(f"{place / BINS:g}", mentions) for place, mentions in enumerate(found.scores)],
        drift=drift(found.nights[-1], found.nights[:-1], limits=limits) if found.nights else None,
        limits=limits,
        most=max((row["mentions"] for row in found.concepts), default=1),
    )
