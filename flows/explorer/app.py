"""The application: the address of each page, and the answers to errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from e2emern.flows.explorer import concept, corpus, correct, document, metrics, models, search, sql, tryit
from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.security import Guard, Secrets
from e2emern.flows.explorer.site import FOLDER, Site, page, site_of
from e2emern.warehouse.errors import QueryRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.explorer.session import Snapshots
from e2emern.warehouse.wording import one_line

ROUTES = (
    Route("/", search.search),
    Route("/search.json", search.suggest),
    Route("/concept/{concept:path}", concept.concept),
    Route("/together/{concept:path}", concept.together),
    Route("/newest/{concept:path}", concept.newest),
    Route("/document/{document:path}", document.document),
    Route("/history/{document:path}", document.history),
    Route("/candidates/{document:path}", document.candidates),
    Route("/attention/{document:path}", document.attention),
    Route("/correct/{document:path}", correct.correct, methods=["GET", "POST"]),
    Route("/corpus", corpus.corpus),
    Route("/models", models.models),
    Route("/metrics", metrics.metrics),
    Route("/sql", sql.sql),
    Route("/sql.csv", sql.download),
    Route("/try", tryit.tryit, methods=["GET", "POST"]),
    Mount("/static", StaticFiles(directory=FOLDER / "static")),
)


def make_app(
    home: Home,
    *,
    secrets: Secrets,
    host: str = "127.0.0.1",
    port: int,
    corrections: Path | None = None,
    annotator: Annotator,
    say: Callable[[str], None] = print,
) -> Starlette:
    """Return the application for a home, for a server that listens on `host` and `port`.

    `say` gets a line for each unexpected error of a page.
    """
    site = Site(
        home=home,
        snapshots=Snapshots(home),
        secrets=secrets,
        annotator=annotator,
        corrections=corrections,
        say=say,
    )

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        site.annotator.close()
        site.snapshots.close()

    app = Starlette(
        routes=list(ROUTES),
        middleware=[Middleware(Guard, secrets=secrets, host=host, port=port), Middleware(_Faults)],
        exception_handlers={HTTPException: _missing, WarehouseError: _failed},
        lifespan=life,
    )
    app.state.site = site
    return app


class _Faults:
    """Middleware that answers a bug of ours with a page; it is inside `Guard`, which adds its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception as error:  # a bug of ours: a page with one line instead of a traceback
            if begun or scope["type"] != "http":
                raise
            await _unexpected(Request(scope), error)(scope, receive, send)


def _missing(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = "There is no such page." if status == 404 else "The request is not valid."
    return page(request, "message.html", status=status, title="Not found", message=message)


def _failed(request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, QueryRefusedError) else 503
    return page(request, "message.html", status=status, title="Cannot answer", message=one_line(error))


def _unexpected(request: Request, error: Exception) -> Response:
    """Answer after a bug of ours, and report it in one line."""
    message = f"unexpected {type(error).__name__}: {one_line(error)}"
    site_of(request).say(f"{request.url.path}: {message}; please report it")
    return page(request, "message.html", status=500, title="Internal error", message=message)
