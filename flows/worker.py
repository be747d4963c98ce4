"""Start a worker of the pool: `python -m e2emern.flows.worker --work-queue annotate --limit 1`.

This runs `prefect worker start`, with its options, and checks the queues and this host (`flows.check`). If a queue is
missing, or if no run can succeed on this host, it exits with a one-line error; a queue deleted later is reported.
The worker's name contains host, process, queues and release, for `e2emern check`.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from threading import Thread

from prefect.cli import app
from prefect.settings import get_current_settings

from e2emern.flows.check import NEEDED_TO_START, check_host
from e2emern.flows.check_results import Severity
from e2emern.flows.queues import DEFAULT, POOL, connect, missing_queues, report
from e2emern.flows.settings import read_settings
from e2emern.tasks.errors import InputError


def main() -> None:
    """Check the queues, then work until stopped."""
    # Prefect's worker needs SIGINT to end on SIGTERM too, and a shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m e2emern.flows.worker", allow_abbrev=False, epilog=__doc__)
    parser.add_argument("--work-queue", action="append", required=True, metavar="NAME", help="may be repeated")
    given, options = parser.parse_known_args()
    try:
        with connect() as client:
            if line := missing_queues(client, given.work_queue):
                raise InputError(line)
        refuse_unfit_host(given.work_queue)
    except InputError as error:
        report(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    Thread(target=_watch, args=(given.work_queue,), daemon=True).start()
    queues = [word for name in given.work_queue for word in ("--work-queue", name)]
    if not any(option.split("=")[0] in ("--name", "-n") for option in options):
        options += ["--name", worker_name(given.work_queue)]
    sys.argv = ["prefect", "worker", "start", "--pool", POOL, *queues, *options]
    app()


def worker_name(queues: Collection[str]) -> str:
    """Return the name of a worker of these queues: `host 4711 annotate backfill e2emern-1.0.0`."""
    return " ".join((socket.gethostname(), str(os.getpid()), *queues, f"e2emern-{version('e2emern')}"))


def refuse_unfit_host(queues: Collection[str]) -> None:
    """Report problems with this host. Raises InputError if no run of these queues can succeed on it."""
    read_settings(home=Path.cwd())  # the home itself may be a parameter of each run
    results = [one for one in check_host(online=False) if one.severity > Severity.OK]
    needed = NEEDED_TO_START - ({"device"} if set(queues) == {DEFAULT} else set())  # its flows use no model
    fatal = [one for one in results if one.severity == Severity.ERROR and one.check in needed]
    for one in results:
        if one not in fatal[:1]:
            report(f"{one.severity.name.lower()}: {one.line}")
    if fatal:
        raise InputError(fatal[0].line)


def _watch(wanted: Collection[str]) -> None:
    """Report at each heartbeat of the worker if a queue has been deleted: Prefect's worker does not."""
    reported = None
    while True:
        time.sleep(get_current_settings().worker.heartbeat_seconds)
        try:
            with connect(patience=0) as client:
                line = missing_queues(client, wanted)
        except InputError:  # the worker itself reports that the server does not answer
            continue
        if line != reported:
            report(f"this worker takes no runs: {line}" if line else "this worker takes runs again")
            reported = line


if __name__ == "__main__":
    main()
