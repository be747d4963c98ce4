"""The part of the preflight that asks the Prefect server: version, queues, deployments, workers, the last night.

`e2emern deploy` ends with `python -m e2emern.flows.check_server`, which creates the alerts that are missing
(`flows.notifications`), and reports what is wrong, apart from workers: they may start later.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import prefect
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType, WorkerStatus, WorkQueue
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from e2emern.flows.check import check_host
from e2emern.flows.check_results import Result, Severity, error, ok, run_checks, warning
from e2emern.flows.deploying import compare_shipped
from e2emern.flows.deployments import Entry
from e2emern.flows.installation import PREFECT_FILE
from e2emern.flows.notifications import BLOCK, notified, read_alerts, read_file, register
from e2emern.flows.notifications import FILE as ALERTS
from e2emern.flows.queues import ANNOTATE, DEFAULT, POOL, QUEUES, connect, lets_runs_choose, missing_queues, report
from e2emern.tasks.errors import InputError
from e2emern.warehouse.wording import examples, one_line, plural

_POLLED = timedelta(seconds=90)  # a worker asks each of its queues every 10 to 15 s
_CLOCK = timedelta(minutes=1)
_LATE = timedelta(minutes=15)
_RELEASE = re.compile(r" e2emern-(\S+)$")  # at the end of a worker's name (flows/worker.py)
_DEPLOY = "e2emern deploy"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers, its time, and the queues of our pool; none if the pool is missing."""

    client: SyncPrefectClient
    now: datetime
    queues: tuple[WorkQueue, ...]


def check_server(*, workers: bool = True) -> list[Result]:
    """Return the result of each check that needs the server; only one if it does not answer.

    Args:
        workers: also check that each queue has a worker.
    """
    try:
        with connect(patience=0) as client:
            answer = client.request("GET", "/admin/version")
            answer.raise_for_status()
            found: list[WorkQueue] = []
            with suppress(ObjectNotFound):
                found = client.read_work_queues(work_pool_name=POOL)
            server = Server(client, parsedate_to_datetime(answer.headers["date"]), tuple(found))
            return run_checks(
                {name: check for name, check in CHECKS.items() if workers or name not in _OF_WORKERS}, server
            )
    except InputError as failure:
        return [replace(error(one_line(failure), "docs/operations.md explains how to start it"), check="server")]


def server_version(server: Server) -> Result:
    """Check that the server has the same release of Prefect as this host."""
    found, ours = server.client.api_version(), prefect.__version__
    if found.split(".")[:2] != ours.split(".")[:2]:
        return error(f"the server has Prefect {found}, this host {ours}", "install requirements.lock on every host")
    if found != ours:
        return warning(f"the server has Prefect {found}, this host {ours}", "install requirements.lock on every host")
    return ok(f"{server.client.api_url} answers, Prefect {found}")


def server_clock(server: Server) -> Result:
    """Check the clock of this host against the server's."""
    off = datetime.now(UTC) - server.now
    if abs(off) > _CLOCK:
        side = "ahead of" if off > timedelta(0) else "behind"
        return error(f"this clock is {timedelta(seconds=round(abs(off).total_seconds()))} {side} the server's",
                     "synchronise both clocks (chrony, systemd-timesyncd)")  # fmt: skip
    return ok("agrees with this host")


def queues(server: Server) -> Result:
    """Check that the pool and its queues exist and take runs, and that no run can choose its command."""
    if line := missing_queues(server.client, QUEUES):
        found, _, advice = line.partition("; run: ")
        return error(found, f"run: {advice}")
    pool = server.client.read_work_pool(POOL)
    paused = [one.name for one in server.queues if one.is_paused]
    if pool.is_paused or paused:
        what = f"work pool {POOL}" if pool.is_paused else f"queue {', '.join(paused)}"
        return warning(f"{what} is paused: its runs wait", "resume it in the UI, under Work Pools")
    if lets_runs_choose(pool):
        return error(f"work pool {POOL} lets a run choose what a worker executes", f"run: {_DEPLOY}")
    return ok(", ".join(QUEUES))


def deployments(server: Server) -> Result:
    """Check that the server has what `e2emern deploy` would register, and that scheduled deployments start runs."""
    compared = compare_shipped(server.client)
    if wrong := [*(f"{name} is missing" for name in compared.missing), *compared.changed]:
        return error(examples(wrong), f"run: {_DEPLOY}")
    idle = [one["name"] for one in compared.merged if _is_idle(one)]
    if idle:
        return warning(f"{', '.join(idle)} will not start automatically: paused, or without an active schedule",
                       "resume it in the UI, under Deployments, unless this is meant")  # fmt: skip
    return ok(f"{plural(len(compared.merged), 'deployment')}, as in {PREFECT_FILE.name} and the settings")


def _is_idle(entry: Entry) -> bool:
    """Return whether a deployment is paused, or has schedules of which none is active."""
    active = [one.get("active", True) for one in entry.get("schedules", [])]
    return entry.get("paused", False) or ("schedules" in entry and not any(active))


def workers(server: Server) -> Result:
    """Check that a worker asks each queue for runs."""
    asked = {one.name: one.last_polled for one in server.queues}
    alone = [name for name in QUEUES if (when := asked.get(name)) is None or server.now - when > _POLLED]
    if alone:
        judge = error if {DEFAULT, ANNOTATE} & set(alone) else warning
        return judge(f"no worker asks for runs of {', '.join(alone)}", "start one: e2emern worker")
    return ok("each queue has one")


def releases(server: Server) -> Result:
    """Check that all workers that are alive have the release of this host."""
    found = server.client.read_workers_for_work_pool(POOL) if server.queues else []
    alive = [one.name for one in found if one.status == WorkerStatus.ONLINE]
    ours = version("e2emern")
    others = [name for name in alive if (other := _RELEASE.search(name)) and other[1] != ours]
    if others:
        return error(f"this host has e2emern {ours}, unlike {examples(others, separator=', ')}",
                     "install the same release on every host, and start its workers again")  # fmt: skip
    return ok(f"{plural(len(alive), 'worker')}: {examples(alive, separator=', ', most=4)}" if alive else "no worker")


def late(server: Server) -> Result:
    """Check that no run of the flows that wait is late; batches may wait for a worker for hours."""
    name = FlowRunFilterStateName(any_=["Late"])
    found = server.client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(name=name)), limit=200)
    runs = [
        one.name
        for one in found
        if one.work_queue_name == DEFAULT and one.expected_start_time and server.now - one.expected_start_time > _LATE
    ]
    if runs:
        return warning(f"{plural(len(runs), 'run')} of queue {DEFAULT} should have begun: {examples(runs, most=3)}",
                       f"start a worker of queue {DEFAULT}, or raise its --limit")  # fmt: skip
    return ok("none")


def last_night(server: Server) -> Result:
    """Check that the last night that ended was not a failure."""
    ended = FlowRunFilterStateType(any_=[StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED])
    found = server.client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["nightly"])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=ended)),
        sort=FlowRunSort.END_TIME_DESC,
        limit=1,
    )
    if not found:
        return ok("none has ended yet")
    night = found[0]
    when = f"the night of {night.start_time or night.expected_start_time:%Y-%m-%d %H:%M} UTC"
    if night.state_type == StateType.COMPLETED:
        return ok(f"{when}: Completed")
    message = " ".join((night.state.message or "" if night.state else "").split())
    return error(f"{when}: {night.state_name}: {message[:200]}", "fix the cause, and start a night: e2emern night")


def alerts(server: Server) -> Result:
    """Check that the alerts of `deploy/automations.yaml` exist, and notify somebody."""
    existing = read_alerts(server.client)
    names = [one["name"] for one in read_file(ALERTS)]
    if missing := [name for name in names if name not in existing]:
        return warning(f"{plural(len(missing), 'alert')} of {len(names)} missing", f"run: {_DEPLOY}")
    if silent := [name for name in names if existing[name].enabled and not notified(existing[name])]:
        return warning(
            f"{plural(len(silent), 'alert')} of {len(names)} notify nobody",
            f"make a notification block with the name {BLOCK} in the UI, and run: {_DEPLOY}",
        )
    return ok(plural(len(names), "alert"))


CHECKS: dict[str, Callable[[Any], Result]] = {
    "server": server_version,
    "server clock": server_clock,
    "queues": queues,
    "deployments": deployments,
    "alerts": alerts,
    "workers": workers,
    "releases": releases,
    "late runs": late,
    "last night": last_night,
}
"""The checks that need the server, by name."""

_OF_WORKERS = ("workers", "releases", "late runs", "last night")


def main() -> None:
    """Create the alerts that are missing, and report what is wrong with this host and the server."""
    try:
        with connect() as client:
            for line in register(client):
                report(line)
    except InputError as failure:
        report(str(failure))
    for one in [*check_host(online=False), *check_server(workers=False)]:
        if one.severity > Severity.OK:
            report(f"{one.severity.name.lower()}: {one.line}")


if __name__ == "__main__":
    main()
