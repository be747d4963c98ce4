"""Start a worker of the pool: `python -m e2emern.flows.worker --work-queue annotate --limit 1`.

This runs `prefect worker start`, with its options, and checks the queues: a missing queue stops the start with one
line, and a queue that is deleted later is reported.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Collection
from threading import Thread

from prefect.cli import app
from prefect.settings import get_current_settings

from e2emern.flows.queues import POOL, connect, missing_queues, report
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
    except InputError as error:
        report(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    Thread(target=_watch, args=(given.work_queue,), daemon=True).start()
    queues = [word for name in given.work_queue for word in ("--work-queue", name)]
    sys.argv = ["prefect", "worker", "start", "--pool", POOL, *queues, *options]
    app()


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
