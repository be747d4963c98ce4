"""Load the server of an installation with two runs at once, and count the errors of its database.

`python -m benchmarks.database` starts a server on loopback with SQLite and with the settings of `e2emern server`;
`--defaults` uses Prefect's own batch sizes instead. Prints how many task runs were recorded, and how often the log says
that the database is locked.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

TASKS = 300
PATIENCE_S = 400.0
_RECORDER, _EVENTS = "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_", "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_"
_DEFAULTS = {
    f"{_RECORDER}BATCH_SIZE": "1",
    f"{_RECORDER}READ_BATCH_SIZE": "1",
    f"{_RECORDER}FLUSH_INTERVAL": "5",
    f"{_EVENTS}BATCH_SIZE": "20",
    f"{_EVENTS}READ_BATCH_SIZE": "1",
    f"{_EVENTS}FLUSH_INTERVAL": "5",
}
_LOAD = f"""
from prefect import flow, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact

@task
def one(number):
    return number

@flow
def load():
    bar = create_progress_artifact(0.0, key="load")
    for number in range({TASKS}):
        one(number)
        if number % 20 == 0:
            update_progress_artifact(bar, 100 * number / {TASKS})

load()
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database", description=__doc__)
    parser.add_argument("--defaults", action="store_true", help="with Prefect's own batch sizes")
    given = parser.parse_args()
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        print(json.dumps(measure(Path(folder), port, _DEFAULTS if given.defaults else {}), indent=1))


def measure(folder: Path, port: int, settings: dict[str, str]) -> dict[str, object]:
    """Run the load against a server, and return the counts."""
    url = f"http://127.0.0.1:{port}/api"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": "user:password",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true",
        **settings,
    }
    log = folder / "server.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "e2emern.flows.server", "--port", str(port)]
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        until = time.monotonic() + PATIENCE_S
        while not _answers(url) and time.monotonic() < until:
            time.sleep(0.2)
        began = time.monotonic()
        load = [sys.executable, "-c", _LOAD]
        runs = [subprocess.Popen(load, env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
        codes = [run.wait() for run in runs]
        while (recorded := _recorded(url)) < 2 * TASKS and time.monotonic() < began + PATIENCE_S:
            time.sleep(1)
        text = log.read_text("utf-8", "replace")
        return {
            "exit_codes_of_runs": codes,
            "task_runs_recorded": recorded,
            "of": 2 * TASKS,
            "seconds": round(time.monotonic() - began, 1),
            "database_is_locked": text.count("database is locked"),
            "errors": text.count("| ERROR"),
        }
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK
    return False


def _recorded(url: str) -> int:
    """Return how many completed task runs the server has recorded."""
    with httpx.Client(base_url=url, auth=("user", "password"), timeout=60) as client:
        token = client.get("csrf-token", params={"client": "benchmark"}).raise_for_status().json()["token"]
        client.headers.update({"Prefect-Csrf-Client": "benchmark", "Prefect-Csrf-Token": token})
        wanted = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        return int(client.post("task_runs/count", json=wanted).raise_for_status().json())


if __name__ == "__main__":
    main()
