"""The queues of an installation: what `e2emern deploy` creates on a server in whatever state that is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from prefect.workers.process import ProcessWorker

from e2emern.flows.installation import WAITS, WORKS
from e2emern.flows.queues import POOL, QUEUES, connect, create_queues, missing_queues
from e2emern.tasks.errors import InputError
from tests.conftest import ROOT

PRIORITIES = [("default", 1), ("annotate", 2), ("train", 3), ("backfill", 4)]


@pytest.fixture(scope="module")
def server() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=120), connect() as client:
        yield client


@pytest.fixture
def client(server: SyncPrefectClient) -> Iterator[SyncPrefectClient]:
    """A client of a server that has no pool of ours."""
    yield server
    server.delete_work_pool(POOL)


def queues(client: SyncPrefectClient) -> list[tuple[str, int]]:
    return [(queue.name, queue.priority) for queue in client.read_work_queues(work_pool_name=POOL)]


def test_queues_are_created_once(client: SyncPrefectClient) -> None:
    assert missing_queues(client, ["train"]) == "the Prefect server has no work pool e2emern; run: e2emern deploy"
    for _ in range(2):
        create_queues(client)
        assert queues(client) == PRIORITIES
        assert client.read_work_pool(POOL).type == "process"
    assert missing_queues(client, QUEUES) is None
    assert missing_queues(client, ["trian", "train", "other"]) == (
        "work pool e2emern has no queue trian, other (found default, annotate, train, backfill); run: e2emern deploy"
    )


def test_a_queue_that_came_too_early_is_served_last(client: SyncPrefectClient) -> None:
    """As of an earlier release, in which the first backfill created its queue."""
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    client.create_work_queue("backfill", work_pool_name=POOL)
    create_queues(client)
    assert queues(client) == PRIORITIES


def test_queues_in_another_order_are_put_in_theirs_before_those_of_others(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for name in ("train", "urgent", "annotate", "backfill"):
        client.create_work_queue(name, work_pool_name=POOL)
    create_queues(client)
    assert queues(client) == [*PRIORITIES, ("urgent", 5)]


def test_queues_of_others_keep_their_place_if_ours_are_in_order(client: SyncPrefectClient) -> None:
    create_queues(client)
    client.create_work_queue("urgent", priority=1, work_pool_name=POOL)
    expected = [("urgent", 1), ("default", 2), ("annotate", 3), ("train", 4), ("backfill", 5)]
    assert queues(client) == expected
    create_queues(client)
    assert queues(client) == expected


def test_a_pool_of_another_type_is_refused(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name=POOL, type="docker"))
    with pytest.raises(InputError, match="has type docker, expected process; run: prefect work-pool delete e2emern"):
        create_queues(client)


def test_a_server_that_does_not_answer_or_is_not_configured_is_named() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(
            InputError, match=r"the Prefect server at http://127.0.0.1:9/api does not answer \(.*e2emern server"
        ),
        connect(patience=0),
    ):
        pass
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(InputError, match="no Prefect server is configured"),
        connect(),
    ):
        pass


def test_deployments_and_workers_name_the_queues_that_are_created() -> None:
    """`e2emern worker` serves each queue once, the units all but `train`, which docs/operations.md adds."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
    used = {(one["work_pool"]["name"], one["work_pool"]["work_queue_name"]) for one in deployments}
    assert used == {("e2emern", "default"), ("e2emern", "annotate"), ("e2emern", "train")}
    assert sorted([*WAITS, *WORKS]) == ["annotate", "backfill", "default", "train"]
    assert served(ROOT / "deploy" / "e2emern-coordinator.service") == ["default"]
    assert served(ROOT / "deploy" / "e2emern-worker@.service") == ["annotate", "backfill"]


def served(path: Path) -> list[str]:
    """The queues of the workers that a file starts."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    starts = [line for line in lines if "-m e2emern.flows.worker " in line]
    return [queue for line in starts for queue in re.findall(r"--work-queue (\S+)", line)]


def test_a_run_cannot_choose_what_a_worker_executes(client: SyncPrefectClient) -> None:
    """`e2emern deploy` replaces the template of a pool that was made with Prefect's default."""
    default = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=default))
    create_queues(client)
    template = client.read_work_pool(POOL).base_job_template
    assert sorted(template["job_configuration"]) == ["labels", "name", "stream_output"]
    assert sorted(template["variables"]["properties"]) == ["labels", "name", "stream_output"]
