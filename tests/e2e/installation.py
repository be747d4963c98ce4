"""An installation on loopback: a Prefect server, workers and what they are told, in a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import psutil

from tests.conftest import ROOT

T = TypeVar("T")

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE = 600.0  # seconds; a busy machine is slow, and a broken one has to end
PREFECT = str(Path(sys.executable).with_name("prefect"))


@dataclass
class Installation:
    """Its processes end with `stop`."""

    folder: Path
    settings: dict[str, str]
    port: int = 0
    server: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "E2EMERN_"))}
        return (
            ours
            | deployed_settings()
            | {
                "PREFECT_HOME": str(self.folder / "prefect"),
                "PREFECT_API_URL": self.url,
                "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true",
                "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "2",
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "PREFECT_CLIENT_MAX_RETRIES": "20",
                "DO_NOT_TRACK": "1",
                "OMP_NUM_THREADS": "1",
                **self.settings,
            }
        )

    def start_server(self) -> None:
        command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui"]
        self.server = self._popen(command, log="server")
        wait_for(lambda: self._answers(), what="the server answers")

    def stop_server(self) -> None:
        assert self.server
        end_tree(self.server, signal.SIGTERM)

    def start_worker(self, name: str) -> None:
        """Starts a worker of all queues, in a folder that is no checkout."""
        command = [PREFECT, "worker", "start", "--pool", "e2emern", "--name", name, "--limit", "3"]
        self.workers[name] = self._popen(command, log=name)

    def kill_worker(self, name: str) -> None:
        """Kills a worker and all that it has started, as a host that goes down does."""
        end_tree(self.workers.pop(name), signal.SIGKILL)

    def kill_workers(self) -> None:
        for name in list(self.workers):
            self.kill_worker(name)

    def prefect(self, *words: str) -> str:
        done = subprocess.run(
            [PREFECT, *words], cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._ask("POST", path, dict(body or {}))

    def run(self, deployment: str, **parameters: object) -> dict[str, Any]:
        """Begins a run of a deployment, and returns it at its end."""
        return wait_for(self.begin(deployment, **parameters), what=f"{deployment} ends")

    def begin(self, deployment: str, **parameters: object) -> Callable[[], dict[str, Any] | None]:
        """Begins a run of a deployment, and returns what returns it when it has ended."""
        wanted = {"parameters": parameters, "idempotency_key": str(uuid4())}
        begun = self.post(f"deployments/{self._deployed(deployment)}/create_flow_run", wanted)

        def ended() -> dict[str, Any] | None:
            now: dict[str, Any] = self._ask("GET", f"flow_runs/{begun['id']}")
            return now if now.get("state_type") in ENDED else None

        return ended

    def runs(self, deployment: str, state: str) -> list[str]:
        """The ids of the runs of a deployment that are in a state."""
        wanted = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": {"state": {"type": {"any_": [state]}}}}
        return [one["id"] for one in self.post("flow_runs/filter", wanted)]

    def set_state(self, run: str, state: str) -> None:
        """Sets the state of a run, as one may in the UI."""
        self.post(f"flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})

    def delete(self, run: str) -> None:
        """Deletes a run, as one may in the UI."""
        self._ask("DELETE", f"flow_runs/{run}")

    @contextmanager
    def paused(self, queue: str) -> Iterator[None]:
        """Has no worker take runs of a queue."""
        path = f"work_pools/e2emern/queues/{queue}"
        self._ask("PATCH", path, {"is_paused": True})
        try:
            yield
        finally:
            self._ask("PATCH", path, {"is_paused": False})

    def log(self, run: str) -> str:
        """What a run has logged, one line after the other."""
        lines = self.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
        return "\n".join(one["message"] for one in lines)

    @contextmanager
    def place_of(self, deployment: str) -> Iterator[Callable[[], None]]:
        """Takes a place among the runs of a deployment, as a worker does, and gives what keeps it, as a long run does.

        That raises httpx.HTTPStatusError where the server knows of no such place.
        """
        scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
        later = {"state": scheduled, "idempotency_key": str(uuid4())}
        run = self.post(f"deployments/{self._deployed(deployment)}/create_flow_run", later)
        taken = self.post(f"flow_runs/{run['id']}/set_state", {"state": {"type": "PENDING"}})
        assert taken["status"] == "ACCEPT", taken
        lease = taken["state"]["state_details"]["deployment_concurrency_lease_id"]

        def keep() -> None:
            self.post(f"v2/concurrency_limits/leases/{lease}/renew", {"lease_duration": 300})

        yield keep
        self.post(f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}})

    def triggered(self, automation: str) -> dict[str, Any]:
        """Waits for the run that an automation began, and returns it at its end."""

        def ended() -> dict[str, Any] | None:
            runs = self.post("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ENDED}}}})
            return next((one for one in runs if (one["created_by"] or {}).get("display_value") == automation), None)

        return wait_for(ended, what=f"what {automation} begins ends")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Waits for events of a name, and returns them."""
        wanted = {"filter": {"event": {"name": [name]}}}
        found: list[dict[str, Any]] = wait_for(lambda: self.post("events/filter", wanted)["events"], what=name)
        return found

    def configure(self, deployment: str, **parameters: object) -> None:
        """Gives a deployment the parameters of runs that are begun with none."""
        self._ask("PATCH", f"deployments/{self._deployed(deployment)}", {"parameters": parameters})

    def enable(self, automation: str) -> None:
        (found,) = [one for one in self.post("automations/filter") if one["name"] == automation]
        self._ask("PATCH", f"automations/{found['id']}", {"enabled": True})

    def stop(self) -> None:
        self.kill_workers()
        if self.server:
            end_tree(self.server, signal.SIGKILL)

    def _deployed(self, deployment: str) -> str:
        return str(self._ask("GET", f"deployments/name/{deployment}/{deployment}")["id"])

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Asks the server; again where it is busy, as Prefect's own client does."""

        def answered() -> httpx.Response | None:
            try:
                answer = httpx.request(method, f"{self.url}/{path}", json=body, timeout=60)
            except httpx.ReadTimeout:
                return None
            return None if answer.status_code == 503 else answer

        answer = wait_for(answered, what=f"{path} is answered")
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        return False

    def _popen(self, command: list[str], *, log: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as file:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), stdout=file, stderr=file, start_new_session=True
            )


def deployed_settings() -> dict[str, str]:
    """What deploy/prefect.env tells Prefect on every host, but for where the server and its database are."""
    lines = (ROOT / "deploy" / "prefect.env").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value for name, value in told.items() if not name.endswith(("_URL", "_HOST"))}


def end_tree(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signals a process and all that descend from it, and waits until they are gone."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        family = [top, *top.children(recursive=True)]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)
        _, alive = psutil.wait_procs(family, timeout=10)
        for one in alive:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def wait_for(met: Callable[[], T | None], *, what: str) -> T:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := met():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE:.0f} s in vain: {what}")
