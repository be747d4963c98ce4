"""The parts that all pages share: the home, the templates, and the function that makes a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse

from e2emern.flows import pages
from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.security import Secrets
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.explorer.session import Session, Snapshots

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The resources of the pages.

    Attributes:
        corrections: the folder of corrected documents; None if pages must not write any.
        say: reports a line to whoever started the server.
    """

    home: Home
    snapshots: Snapshots
    secrets: Secrets
    annotator: Annotator
    corrections: Path | None
    say: Callable[[str], None]


def site_of(request: Request) -> Site:
    """Return the site of a request's application."""
    return cast(Site, request.app.state.site)


def page(
    request: Request, template: str, session: Session | None = None, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page; `session` names the snapshot that it was made of."""
    site = site_of(request)
    text = ENVIRONMENT.get_template(template).render(
        path=request.url.path,
        snapshot=session.snapshot if session else None,
        home=str(site.home),
        may_correct=site.corrections is not None,
        form_token=site.secrets.form,
        **values,
    )
    return HTMLResponse(text, status_code=status)


def address(*parts: str, **query: str) -> str:
    """Return a path of this site: each part is one segment, whatever characters it has."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return path + (f"?{urlencode(query)}" if query else "")


def flag(request: Request, name: str) -> bool:
    """Return whether a query parameter is 1."""
    return request.query_params.get(name) == "1"


def _environment() -> Environment:
    environment = pages.environment(FOLDER / "templates")
    environment.filters.update(
        segment=lambda text: quote(str(text), safe=""), dictvalues=lambda row: list(row.values())
    )
    environment.globals.update(address=address)
    return environment


ENVIRONMENT = _environment()
