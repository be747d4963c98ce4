"""Serve the explorer until Ctrl-C."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.app import make_app
from e2emern.flows.explorer.security import TOKEN, Secrets, is_loopback
from e2emern.tasks.errors import InputError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.reader import read_snapshot


def serve(
    home: Home,
    *,
    host: str,
    port: int,
    allow_remote: bool,
    corrections: Path | None,
    metrics_token: str | None,
    annotator: Annotator,
    opened: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the pages of a home on `host` and `port` (0 for a free one), and report the address with `say`.

    `opened` opens it in the browser. With `metrics_token`, Prometheus may read /metrics.

    Raises `InputError` if others could reach the address and `allow_remote` is false, or if the port is taken, and
    `WarehouseError` if the home has no snapshot.
    """
    if not is_loopback(host) and not allow_remote:
        raise InputError(f"--host {host}: others could read the home; give --allow-remote too if they may")
    read_snapshot(home)
    secrets = Secrets(metrics=metrics_token)
    listening = _listen(host, port)
    number = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{number}/?{TOKEN}="
    app = make_app(home, secrets=secrets, host=host, port=number, corrections=corrections, annotator=annotator, say=say)
    say(f"{home} is at {address}{secrets.token}")
    if corrections:
        say(f"corrections are written into {corrections}")
    say("press Ctrl-C to stop")
    if opened and _has_desktop():
        webbrowser.open(address + secrets.opening)
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, ws="none", server_header=False, timeout_graceful_shutdown=3
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        uvicorn.Server(config).run(sockets=[listening])


def _has_desktop() -> bool:
    """Return whether a browser with windows can be opened, not one in this terminal."""
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before the address is printed."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
    except (OSError, OverflowError) as error:
        raise InputError(f"--host {host} --port {port}: {error}; choose another, or --port 0 for a free one") from error
    listening.listen()
    return listening
