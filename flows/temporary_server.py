"""A Prefect server for the time of one command, for machines where none is set up.

Prefect would start one by itself; this one starts earlier, so that it gets ready while torch is imported, takes a free
port from the kernel, says nothing, and ends with the command however that dies: it lives as long as a pipe from it.
Its database is Prefect's own (`PREFECT_HOME`), so that `prefect server start` shows the runs later.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.errors import InputError

_QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # a flow's error is the command's own to tell
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",  # some of its loggers stand outside of its own tree
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_SERVER = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",  # nothing is triggered here, and it does not end when told to
}
_PATIENCE = 5.0  # seconds for what ends by itself


@contextmanager
def temporary_server(*, verbose: bool = False) -> Iterator[Callable[[], None]]:
    """Start a server, unless Prefect is set up to use one, and yield a function that waits until it answers.

    Call that function before anything of Prefect is imported, since Prefect reads its settings then.

    Raises:
        InputError: the server that Prefect is to use does not answer; from the function, the server did not start.
    """
    if not verbose:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL"):
        _need_answer()  # before torch, which takes a while
        yield lambda: None
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.temporary_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        env=os.environ | _SERVER,
        start_new_session=True,  # Ctrl-C is for the command alone, which ends its server
    )
    commands, told = process.stdin, process.stdout
    assert commands is not None  # pipes, as asked for
    assert told is not None

    def wait() -> None:
        url = told.readline().decode().strip()
        if not url:
            raise InputError(
                "Prefect's temporary server did not start; see why with e2emern --verbose annotate, or set "
                "PREFECT_API_URL to a server"
            )
        os.environ["PREFECT_API_URL"] = url
        _need_answer()

    try:
        yield wait
    finally:
        if "PREFECT_API_URL" in os.environ:
            _send_events()
            del os.environ["PREFECT_API_URL"]
        commands.close()
        try:
            process.wait(2 * _PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        told.close()


def _need_answer() -> None:
    from prefect.client.orchestration import get_client

    client = get_client(sync_client=True)
    if error := client.api_healthcheck():
        raise InputError(
            f"the Prefect server at {client.api_url} cannot be used ({error or type(error).__name__}); start it, or do "
            "without: unset PREFECT_API_URL, or prefect config unset PREFECT_API_URL where a profile has it"
        ) from error


def _send_events() -> None:
    """Send what Prefect still holds back, while there is someone to receive it."""
    if "prefect.events.worker" in sys.modules:
        from prefect.events.worker import EventsWorker

        EventsWorker.drain_all(timeout=2 * _PATIENCE)


def main() -> None:
    """Serve on a free port, tell the address on standard output, and end when standard input does.

    Where a profile of Prefect names a server, tell its address and end at once.
    """
    from prefect.settings import get_current_settings

    if configured := get_current_settings().api.url:
        print(configured, flush=True)
        return

    import uvicorn
    from prefect.server.api.server import create_app

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            host, port = listener.getsockname()
            print(f"http://{host}:{port}/api", flush=True)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True
        threading.Timer(_PATIENCE, lambda: os._exit(0)).start()

    listener = socket.create_server(("127.0.0.1", 0))
    server = Announced(uvicorn.Config(create_app, factory=True, log_level="critical", timeout_graceful_shutdown=1))
    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[listener])
    os._exit(0)  # all is shut down, but threads of its database connections go on


if __name__ == "__main__":
    main()
