"""Look at a home in a browser: `explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e2emern.defaults import MESH
from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Device, HomeFolder, Mesh, OnDevice

_SHORTEST_TOKEN = 20


@app.command(epilog="Example: e2emern explore --home home")
def explore(
    home: HomeFolder,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 for a free one.")] = 8642,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen on an address that others can reach. Nothing is encrypted.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Model folder, or a version of the home, for pasted text.",
            show_default="the home's champion, or the bundled one",
        ),
    ] = None,
    mesh: Mesh = MESH,
    device: OnDevice = Device.AUTO,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Let pages write corrected documents into this folder.", show_default="none are written"
        ),
    ] = None,
    metrics_token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Let Prometheus read /metrics with the token in this file.", show_default="not allowed"
        ),
    ] = None,
) -> None:
    """Browse a home: search, concepts, documents with their mentions, the corpus, the models, SQL, and your own text.

    Serves read-only pages on this machine only. Nobody can read them without the token in the printed address.
    The pages load nothing from other hosts, and always show the current snapshot.
    """
    from e2emern.flows.explorer.annotator import Annotator
    from e2emern.flows.explorer.server import serve

    serve(
        home,
        host=host,
        port=port,
        allow_remote=allow_remote,
        corrections=corrections,
        metrics_token=_read_token(metrics_token) if metrics_token else None,
        annotator=Annotator(home, model=model, mesh=mesh, device=device.value),
        opened=browser,
        say=say,
    )


def _read_token(path: Path) -> str:
    """Return the token in a file. Raises `InputError` if it could be guessed, and OSError."""
    from e2emern.tasks.errors import InputError

    token = path.read_text("utf-8").strip()
    if len(token) < _SHORTEST_TOKEN or not token.isascii():
        raise InputError(f"expected at least {_SHORTEST_TOKEN} ASCII characters: openssl rand -hex 32", path=path)
    return token
