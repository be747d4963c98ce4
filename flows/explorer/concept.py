"""The page of a concept, with or without those below it: names, tree positions, years, words, co-occurring concepts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from e2emern.flows.explorer.marks import excerpt
from e2emern.flows.explorer.site import address, page, site_of
from e2emern.warehouse.queries.explorer.session import Session

_MOST_YEARS = 150


def concept(request: Request) -> Response:
    """Answer `/concept/ID?below=0`; by default with the concepts below it. A name leads to the page of its concept."""
    wanted, below = request.path_params["concept"], _below(request)
    with site_of(request).snapshots.session() as session:
        given: dict[str, str | bool] = {"concept": wanted, "below": below}
        entity = session.figure("concept-entity", given)
        if entity.first is None:
            return _named(request, session, wanted)
        years = session.figure("concept-years", given)
        return page(
            request,
            "concept.html",
            session,
            title=entity.first["name"],
            entity=entity,
            concept=entity.first,
            below=below,
            branches=_branches(session, given),
            narrower=session.figure("concept-narrower", given),
            totals=session.figure("concept-totals", given),
            years=years,
            points=_by_year(years.rows),
            words=session.figure("concept-words", given),
        )


def together(request: Request) -> Response:
    """Answer the part of the page about concepts in the same documents, which the page loads separately."""
    with site_of(request).snapshots.session() as session:
        figure = session.figure("concept-together", _given(request))
        return page(request, "concept-together.html", session, figure=figure)


def newest(request: Request) -> Response:
    """Answer the part of the page with the newest documents, which the page loads separately."""
    given = _given(request)
    with site_of(request).snapshots.session() as session:
        figure = session.figure("concept-newest", given)
        texts = session.excerpts(
            [row["document_id"] for row in figure.rows], concept=str(given["concept"]), below=bool(given["below"])
        )
        excerpts = {name: excerpt(one["passages"], one["places"]) for name, one in texts.items()}
        return page(request, "concept-newest.html", session, figure=figure, excerpts=excerpts)


def _below(request: Request) -> bool:
    return request.query_params.get("below", "1") != "0"


def _given(request: Request) -> dict[str, str | bool]:
    return {"concept": request.path_params["concept"], "below": _below(request)}


def _named(request: Request, session: Session, wanted: str) -> Response:
    """Answer for something that is not an id: lead to the only concept with that name, or offer the nearest."""
    found = session.concepts(wanted, most=8)
    exact = [row for row in found if wanted.strip().lower() in (row["words"], row["mesh_id"].lower())]
    if len(exact) == 1:
        return RedirectResponse(address("concept", exact[0]["mesh_id"]), status_code=303)
    message = f"No concept of MeSH {session.snapshot.mesh_version} has the id or name {wanted!r}."
    return page(request, "missing.html", session, status=404, title="No such concept", message=message, concepts=found)


def _by_year(rows: Sequence[dict[str, Any]]) -> list[tuple[str, float]]:
    """Return the mentions of each year from the first to the last, with 0 for years without any."""
    counts = {row["year"]: row["mentions"] for row in rows if row["year"] is not None}
    if not counts:
        return []
    first = max(min(counts), max(counts) - _MOST_YEARS)
    return [(str(year), counts.get(year, 0)) for year in range(first, max(counts) + 1)]


def _branches(session: Session, given: dict[str, str | bool]) -> list[list[dict[str, Any]]]:
    """Return, for each tree number of the concept, the concepts from the top of the tree to it."""
    rows = session.figure("concept-place", given).rows
    return [list(group) for _, group in groupby(rows, key=lambda row: row["branch"])]
