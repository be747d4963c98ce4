"""Start the Prefect server of an installation: `python -m e2emern.flows.server`.

This runs `prefect server start`, with its options, and with settings that keep web pages and other users out. Prefect's
own defaults let any web page that the operator opens start runs: no authentication, no CSRF protection, and answers
that scripts of every origin may read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from e2emern.flows.credentials import auth_string
from e2emern.flows.settings import read_settings
from e2emern.tasks.errors import InputError
from e2emern.tasks.retention import Retention

_FIXED = {
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_DEFAULTS = {
    # On disk, so that a server restart crashes no run with a concurrency limit.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Reduce write transactions. Prefect itself sets SQLite's write-ahead log and a busy timeout of 60 s, but a
    # transaction that first reads and then writes fails at once if another has written meanwhile.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
}


def safe_settings(given: Mapping[str, str], *, keep_days: float = Retention().server_days) -> dict[str, str]:
    """Return the server's environment: the given one with authentication, CSRF protection and one allowed origin.

    Prefect deletes runs that ended more than `keep_days` ago, with their logs and artifacts.

    Raises OSError if the authentication string is neither given nor can be kept in a file.
    """
    host = given.get("PREFECT_SERVER_API_HOST") or "127.0.0.1"
    port = given.get("PREFECT_SERVER_API_PORT") or "4200"
    auth = given.get("PREFECT_SERVER_API_AUTH_STRING") or given.get("PREFECT_API_AUTH_STRING") or auth_string()
    ours = {
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{host}:{port}",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(round(keep_days * 86_400)),
    }
    return _DEFAULTS | ours | {name: value for name, value in given.items() if value} | _FIXED


def main() -> None:
    """Replace this process by the server."""
    try:
        keep_days = read_settings(home=Path.cwd()).retention.server_days  # the server does not use the home
        settings = safe_settings(os.environ, keep_days=keep_days)
    except (InputError, OSError) as error:
        sys.exit(f"e2emern: {error}")
    os.execve(sys.executable, [sys.executable, "-m", "prefect", "server", "start", *sys.argv[1:]], settings)


if __name__ == "__main__":
    main()
