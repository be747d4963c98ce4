"""What all pages share: the home, the templates, and how a page is made."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from e2emern.flows.explorer import charts
from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.security import Secrets
from e2emern.flows.values import text_of
from e2emern.flows.visible import visible
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.explorer.session import Session, Snapshots
from e2emern.warehouse.wording import cut, plural

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the pages read and write.

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
    """Return what the pages of a request's application share."""
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


def _finalize(value: Any) -> Any:
    """Return what a template prints of a value: nothing for None, and no control characters."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else visible(str(value))


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _moment(value: datetime.datetime | str | None) -> str:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    return f"{value:%Y-%m-%d %H:%M}" if value else "–"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "number": _number,
        "share": _share,
        "moment": _moment,
        "value": text_of,
        "segment": lambda text: quote(str(text), safe=""),
        "plural": plural,
        "cut": cut,
        "dictvalues": lambda row: list(row.values()),
    }
    environment.filters.update(filters)
    environment.globals.update(address=address, bars=charts.bars, line=charts.line, interval=charts.interval)
    return environment


ENVIRONMENT = _environment()
