"""The work pool of an installation and its queues: `e2emern deploy` creates them, and workers check them on start.

If a worker names a missing queue, Prefect answers 404, and the worker silently takes no runs at all. So every queue is
created before the first worker starts, and a worker reports a missing one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.process import ProcessWorker

from e2emern.tasks.errors import InputError
from e2emern.warehouse.wording import one_line

POOL = "e2emern"
DEFAULT = "default"
"""Flows that send batches and wait for them, `prune`, and the doctor. Prefect creates it with the pool."""
ANNOTATE = "annotate"
"""Batches of a night, and flows that link."""
TRAIN = "train"
"""Flows that train or evaluate."""
BACKFILL = "backfill"
"""Batches of a backfill: a worker takes one only if no other queue has a run for it."""
QUEUES = (DEFAULT, ANNOTATE, TRAIN, BACKFILL)
"""The first has priority 1, the highest."""

TYPES = (ProcessWorker.type, "kubernetes")
"""Types of pools: a run is a process of its worker, or a job of Kubernetes."""

_PATIENCE_S = 60.0
_NOT_OF_A_RUN = ("command", "env", "working_dir")


@contextmanager
def connect(*, patience: float = _PATIENCE_S) -> Iterator[SyncPrefectClient]:
    """Yield a client of the Prefect server, which may still be starting.

    Args:
        patience: seconds to wait for the server to answer.

    Raises:
        InputError: no server is configured, it does not answer, or a request fails.
    """
    url = get_current_settings().api.url
    if not url:
        raise InputError(
            "no Prefect server is configured; set PREFECT_API_URL, or use e2emern server, deploy and worker, which do"
        )
    try:
        with get_client(sync_client=True) as client:
            _wait_for_answer(client, url, patience)
            yield client
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise InputError(f"the Prefect server at {url} cannot be used: {' '.join(str(error).split())}") from error
        raise InputError(
            f"the Prefect server at {url} refuses the authentication string; set PREFECT_API_AUTH_STRING to the one "
            "that `python -m e2emern.flows.credentials` prints on the server's host"
        ) from error
    except httpx.HTTPError as error:
        raise InputError(f"the Prefect server at {url} cannot be used: {one_line(error)}") from error


def _wait_for_answer(client: SyncPrefectClient, url: str, patience: float) -> None:
    until = time.monotonic() + patience
    waiting = False
    while error := client.api_healthcheck():
        reason = one_line(error)
        if time.monotonic() >= until:
            raise InputError(f"the Prefect server at {url} does not answer ({reason}); start it: e2emern server")
        if not waiting:
            report(f"waiting for the Prefect server at {url} ({reason})")
            waiting = True
        time.sleep(1)


def create_queues(client: SyncPrefectClient) -> None:
    """Create the pool and each missing queue, and set the priorities of the queues.

    Queues that others have added to the pool stay; they are moved behind ours only if ours are out of order.

    A pool of type kubernetes keeps its template; deploy/kubernetes-pool.json is an example.

    Raises:
        InputError: the pool exists, but has another type, or its template lets a run choose what a worker executes.
    """
    template = job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))
    pool = client.read_work_pool(POOL)
    if pool.type not in TYPES:
        raise InputError(
            f"work pool {POOL} has type {pool.type}, expected {' or '.join(TYPES)}; "
            f"run: prefect work-pool delete {POOL}"
        )
    if pool.type != ProcessWorker.type:
        if lets_runs_choose(pool):
            raise InputError(
                f"the template of work pool {POOL} lets a run choose what a worker executes; run: prefect work-pool "
                f"update {POOL} --base-job-template kubernetes-pool.json"
            )
    elif pool.base_job_template != template:
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    existing = {queue.name for queue in client.read_work_queues(work_pool_name=POOL)}
    for priority, name in enumerate(QUEUES, start=1):
        if name not in existing:
            with suppress(ObjectAlreadyExists):
                client.create_work_queue(name, priority=priority, work_pool_name=POOL)
    found = client.read_work_queues(work_pool_name=POOL)  # by priority
    if [queue.name for queue in found if queue.name in QUEUES] != list(QUEUES):
        found.sort(key=lambda queue: QUEUES.index(queue.name) if queue.name in QUEUES else len(QUEUES))
        for priority, queue in enumerate(found, start=1):
            client.update_work_queue(queue.id, priority=priority)


def job_template() -> dict[str, Any]:
    """Return Prefect's process template without the parts that would let a run choose its command.

    With the default template, the variables `command`, `env` and `working_dir` of a run decide what a worker executes.
    """
    template = ProcessWorker.get_default_base_job_template()
    for variable in _NOT_OF_A_RUN:
        del template["job_configuration"][variable]
        del template["variables"]["properties"][variable]
    return template


def lets_runs_choose(pool: WorkPool) -> bool:
    """Return whether the template of a pool lets a run choose what a worker executes."""
    if pool.type == ProcessWorker.type:
        return pool.base_job_template != job_template()
    variables = pool.base_job_template.get("variables", {}).get("properties", {})
    return any(name in variables for name in _NOT_OF_A_RUN)


def missing_queues(client: SyncPrefectClient, wanted: Collection[str]) -> str | None:
    """Return one line that names the missing pool or the missing queues; None if all exist."""
    try:
        found = [queue.name for queue in client.read_work_queues(work_pool_name=POOL)]
    except ObjectNotFound:
        return f"the Prefect server has no work pool {POOL}; run: e2emern deploy"
    if missing := [name for name in wanted if name not in found]:
        return f"work pool {POOL} has no queue {', '.join(missing)} (found {', '.join(found)}); run: e2emern deploy"
    return None


def report(line: str) -> None:
    """Print a line on standard error, at once."""
    print(f"e2emern: {line}", file=sys.stderr, flush=True)
