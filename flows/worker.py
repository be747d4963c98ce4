"""Starts a worker of the pool: `python -m flows.worker --work-queue annotate --limit 1`.

It is `prefect worker start`, and takes its options, with a check: a queue that is missing ends the start with one line,
and is reported if somebody deletes it later.
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

from flows.queues import POOL, connect, missing_queues, report
from tasks.errors import InputError


def main() -> None:
    """Check the queues, then work until stopped."""
    # A shell has what it starts in the background ignore SIGINT, through which Prefect's worker ends on SIGTERM too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m flows.worker", allow_abbrev=False, epilog=__doc__)
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
    """Report at each heartbeat of the worker if a queue has come to miss: Prefect's worker does not."""
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
