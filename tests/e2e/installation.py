"""An installation on loopback, in a folder of its own, started by the commands of README.md and of deploy/."""

from __future__ import annotations

import json
import os
import re
import shlex
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
from tests.e2e.commands import Unit, read_unit, read_variables, readme_commands
from tests.pages import typed

T = TypeVar("T")

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE = 600.0  # seconds; a busy machine is slow, and a broken one has to end
SERVER, DEPLOY, WORKERS, NIGHT = readme_commands()
CHECK = typed("operations", "e2emern check")
OTHERS = ("PREFECT_", "E2EMERN_", "MAKE", "MFLAGS")  # variables that would reach the installation from outside


@dataclass
class Installation:
    """An installation; `stop` ends its processes."""

    folder: Path
    settings: dict[str, Any]
    port: int = 0
    server: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    connection: httpx.Client | None = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def auth_string(self) -> str:
        """The authentication string that `make` passes to the server and to every command."""
        environment = self.environment()
        command = [sys.executable, "-m", "e2emern.flows.credentials"]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def client(self) -> httpx.Client:
        """A client that authenticates and has a CSRF token, as Prefect's own clients do."""
        user, password = self.auth_string.split(":", 1)
        client = httpx.Client(base_url=self.url, auth=(user, password), timeout=60)
        name = str(uuid4())
        token = client.get("csrf-token", params={"client": name}).raise_for_status().json()["token"]
        client.headers.update({"Prefect-Csrf-Client": name, "Prefect-Csrf-Token": token})
        return client

    def environment(self) -> dict[str, str]:
        """The environment of all commands: the folder and port of this installation, and shorter waits."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        return ours | {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
            "PREFECT_CLIENT_MAX_RETRIES": "20",
            "OMP_NUM_THREADS": "1",
        }

    def make_environment(self) -> dict[str, str]:
        """Return the environment of the README's commands: an address, settings, and the result of `make install`."""
        installed = self.folder / "installed"
        installed.touch()
        return self.environment() | {
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "MAKEFLAGS": f"INSTALLED={installed}",
            "E2EMERN_CONFIG": "",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **{f"E2EMERN_{name.upper()}": in_environment(value) for name, value in self.settings.items()},
        }

    def unit(self, name: str, instance: str) -> Unit:
        """A unit of deploy/, with this installation's address, database and port."""
        folder = self.folder / "etc"
        folder.mkdir(exist_ok=True)
        variables = read_variables((ROOT / "deploy" / "prefect.env").read_text("utf-8"))
        assert variables["PREFECT_API_AUTH_STRING"] == ""  # no secret is shipped
        variables |= {
            "PREFECT_API_URL": self.url,
            "PREFECT_API_AUTH_STRING": self.auth_string,
            "PREFECT_HOME": str(self.folder / "prefect"),
        }
        del variables["PREFECT_API_DATABASE_CONNECTION_URL"]  # SQLite in PREFECT_HOME, and no PostgreSQL
        (folder / "prefect.env").write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
        settings = "".join(f"{key} = {in_toml(value)}\n" for key, value in self.settings.items())
        (folder / "e2emern.toml").write_text(settings)
        unit = read_unit(name, instance=instance, configured_in=folder)
        return Unit([str(self.port) if word == "4200" else word for word in unit.command], unit.variables)

    def start_server(self, *, by: str = SERVER, unit: str | None = None) -> None:
        """Start the server as README.md does, by another command, or as a unit."""
        self.server = self._start_unit(unit, "") if unit else self._start(by, log="server")
        wait_for(lambda: self._answers(), what="the server answers")

    def stop_server(self) -> None:
        assert self.server
        end_tree(self.server, signal.SIGTERM)

    def deploy(self, *, by: str = DEPLOY, settings: str = "") -> str:
        """Deploy as README.md does, with a settings file if one is given, and return the output."""
        (self.folder / "deployed.toml").write_text(settings)
        return self._run(by, E2EMERN_CONFIG=str(self.folder / "deployed.toml"))

    def check(self, *, settings: str = "", home: Path | None = None) -> tuple[int, dict[str, str]]:
        """Return the exit code of the preflight, and the findings of the checks that fail."""
        (self.folder / "checked.toml").write_text(settings)
        variables = self.make_environment() | {"E2EMERN_CONFIG": str(self.folder / "checked.toml")}
        command = [*shlex.split(CHECK), "--json", *(["--home", str(home)] if home else [])]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout)["checks"]
        return done.returncode, {one["check"]: one["found"] for one in found if one["severity"] == "error"}

    def wait_until_well(self) -> None:
        """Wait until the preflight finds no problem, so the workers have asked for runs."""
        queues = "work_pools/e2emern/queues/filter"  # asking the server is faster than starting a process for it
        wait_for(lambda: all(one["last_polled"] for one in self.post(queues)), what="each queue has a worker")
        wait_for(lambda: self.check() == (0, {}), what="all is well")

    def start_workers(self, *, by: str = WORKERS) -> None:
        """Start the workers of a host as README.md does."""
        self.workers["README"] = self._start(by, log="workers")

    def start_worker(self, unit: str, instance: str = "") -> None:
        """Start the worker of a unit, in a folder outside any checkout."""
        self.workers[unit] = self._start_unit(unit, instance)

    def begin_night(self, *, by: str = NIGHT) -> Callable[[], dict[str, Any] | None]:
        """Start a night as README.md does, and return a function that waits for its end and returns its run."""
        (run,) = re.findall(r"UUID: (\S+)", self._run(by))
        return self._end_of(run)

    def kill_worker(self, name: str) -> None:
        """Kill a worker and all processes that it has started, as when a host goes down."""
        end_tree(self.workers.pop(name), signal.SIGKILL)

    def kill_workers(self) -> None:
        for name in list(self.workers):
            self.kill_worker(name)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._ask("POST", path, dict(body or {}))

    def run(self, deployment: str, **parameters: object) -> dict[str, Any]:
        """Start a run of a deployment, wait for its end, and return it."""
        return wait_for(self.begin(deployment, **parameters), what=f"{deployment} ends")

    def begin(self, deployment: str, **parameters: object) -> Callable[[], dict[str, Any] | None]:
        """Start a run of a deployment, and return a function that waits for its end and returns it."""
        wanted = {"parameters": parameters, "idempotency_key": str(uuid4())}
        begun = self.post(f"deployments/{self._deployed(deployment)}/create_flow_run", wanted)
        return self._end_of(begun["id"])

    def end_of(self, run: str) -> dict[str, Any]:
        """Wait for the end of a run, and return it."""
        return wait_for(self._end_of(run), what="the run ends")

    def runs(self, deployment: str, state: str) -> list[str]:
        """The ids of the runs of a deployment that are in a state."""
        wanted = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": {"state": {"type": {"any_": [state]}}}}
        return [one["id"] for one in self.post("flow_runs/filter", wanted)]

    def set_state(self, run: str, state: str) -> None:
        """Set the state of a run, as a user can in the UI."""
        self.post(f"flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})

    def delete(self, run: str) -> None:
        """Delete a run, as a user can in the UI."""
        self._ask("DELETE", f"flow_runs/{run}")

    def queues(self) -> list[tuple[str, int]]:
        """The queues of the pool with their priorities."""
        return [(one["name"], one["priority"]) for one in self.post("work_pools/e2emern/queues/filter")]

    def delete_queue(self, queue: str) -> None:
        """Delete a queue, as a user can in the UI."""
        self._ask("DELETE", f"work_pools/e2emern/queues/{queue}")

    @contextmanager
    def paused(self, queue: str) -> Iterator[None]:
        """Pause a queue."""
        path = f"work_pools/e2emern/queues/{queue}"
        self._ask("PATCH", path, {"is_paused": True})
        try:
            yield
        finally:
            self._ask("PATCH", path, {"is_paused": False})

    def log(self, run: str) -> str:
        """The log lines of a run."""
        lines = self.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
        return "\n".join(one["message"] for one in lines)

    @contextmanager
    def place_of(self, deployment: str) -> Iterator[Callable[[], None]]:
        """Take a concurrency slot of a deployment, as a worker does, and yield a function that renews it.

        The function raises httpx.HTTPStatusError if the server has no such slot.
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
        """Wait for the run that an automation started, and return it at its end."""

        def ended() -> dict[str, Any] | None:
            runs = self.post("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ENDED}}}})
            return next((one for one in runs if (one["created_by"] or {}).get("display_value") == automation), None)

        return wait_for(ended, what=f"what {automation} begins ends")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Wait for events with a name, and return them."""
        wanted = {"filter": {"event": {"name": [name]}}}
        found: list[dict[str, Any]] = wait_for(lambda: self.post("events/filter", wanted)["events"], what=name)
        return found

    def configure(self, deployment: str, **parameters: object) -> None:
        """Set the default parameters of a deployment."""
        self._ask("PATCH", f"deployments/{self._deployed(deployment)}", {"parameters": parameters})

    def schedule(self, deployment: str, cron: str, **parameters: object) -> None:
        """Give a deployment another schedule, as a user can in the UI."""
        wanted = {"schedule": {"cron": cron, "timezone": "UTC"}, "active": False, "parameters": parameters}
        self._ask("POST", f"deployments/{self._deployed(deployment)}/schedules", [wanted])

    def enable(self, automation: str, *, on: bool = True) -> None:
        (found,) = [one for one in self.post("automations/filter") if one["name"] == automation]
        self._ask("PATCH", f"automations/{found['id']}", {"enabled": on})

    def stop(self) -> None:
        if self.connection:
            self.connection.close()
        self.kill_workers()
        if self.server:
            end_tree(self.server, signal.SIGKILL)

    def _deployed(self, deployment: str) -> str:
        return str(self._ask("GET", f"deployments/name/{deployment}/{deployment}")["id"])

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to the server; retry if it is busy, as Prefect's own client does."""

        def answered() -> httpx.Response | None:
            try:
                self.connection = self.connection or self.client()
                answer = self.connection.request(method, path, json=body)
            except httpx.ReadTimeout:
                return None
            if answer.status_code == 403:  # the token has expired
                self.connection.close()
                self.connection = None
            return None if answer.status_code in (403, 503) else answer

        answer = wait_for(answered, what=f"{path} is answered")
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        return False

    def _end_of(self, run: str) -> Callable[[], dict[str, Any] | None]:
        def ended() -> dict[str, Any] | None:
            now: dict[str, Any] = self._ask("GET", f"flow_runs/{run}")
            return now if now.get("state_type") in ENDED else None

        return ended

    def shell(self, script: str) -> str:
        """Return what bash prints for a script in the folder of the project, without the address of the server."""
        variables = self.make_environment()
        del variables["PREFECT_API_URL"]
        done = subprocess.run(
            ["bash", "-euc", script], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, command: str, **variables: str) -> str:
        done = subprocess.run(
            shlex.split(command),
            cwd=ROOT,
            env=self.make_environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _start(self, command: str, *, log: str) -> subprocess.Popen[bytes]:
        return self._popen(shlex.split(command), cwd=ROOT, env=self.make_environment(), log=log)

    def _start_unit(self, name: str, instance: str) -> subprocess.Popen[bytes]:
        unit = self.unit(name, instance)
        return self._popen(unit.command, cwd=self.folder, env=self.environment() | unit.variables, log=name)

    def _popen(self, command: list[str], *, cwd: Path, env: dict[str, str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as file:
            return subprocess.Popen(command, cwd=cwd, env=env, stdout=file, stderr=file, start_new_session=True)


def in_environment(setting: object) -> str:
    if isinstance(setting, dict):
        return json.dumps(setting)
    return " ".join(setting) if isinstance(setting, list) else str(setting)


def in_toml(setting: object) -> str:
    if isinstance(setting, dict):
        return f"{{ {', '.join(f'{name} = {in_toml(value)}' for name, value in setting.items())} }}"
    return json.dumps(setting)


def end_tree(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and all its descendants, and wait until they are gone."""
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
        time.sleep(0.4)  # polling costs the server more than waiting costs us
    raise AssertionError(f"waited {PATIENCE:.0f} s in vain: {what}")
