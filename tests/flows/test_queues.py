"""The queues that `e2emern deploy` creates on a server in any state."""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed
from prefect.testing.cli import CycloptsCliRunner
from prefect.testing.utilities import prefect_test_harness
from prefect.workers.process import ProcessWorker

from e2emern.flows import notifications
from e2emern.flows.check_server import check_server
from e2emern.flows.installation import TRAINS, WAITS, WORKS
from e2emern.flows.queues import POOL, QUEUES, connect, create_queues, missing_queues
from e2emern.flows.worker import worker_name
from e2emern.tasks.errors import InputError
from tests.conftest import ROOT
from tests.pages import typed

PRIORITIES = [("default", 1), ("annotate", 2), ("train", 3), ("backfill", 4)]


@pytest.fixture(scope="module")
def server() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=480), connect() as client:
        yield client


@pytest.fixture
def client(server: SyncPrefectClient) -> Iterator[SyncPrefectClient]:
    """A client of a server without our pool."""
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


def test_a_queue_created_too_early_is_served_last(client: SyncPrefectClient) -> None:
    """As of an earlier release, in which the first backfill created its queue."""
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    client.create_work_queue("backfill", work_pool_name=POOL)
    create_queues(client)
    assert queues(client) == PRIORITIES


def test_misordered_queues_are_moved_before_those_of_others(client: SyncPrefectClient) -> None:
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
    with pytest.raises(
        InputError, match="has type docker, expected process or kubernetes; run: prefect work-pool delete e2emern"
    ):
        create_queues(client)


def test_a_pool_of_kubernetes_keeps_its_template(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    template = json.loads((ROOT / "deploy" / "kubernetes-pool.json").read_text("utf-8"))
    created = typed(
        "deployment",
        "prefect work-pool create e2emern --type kubernetes --base-job-template deploy/kubernetes-pool.json",
    )
    monkeypatch.chdir(ROOT)
    assert CycloptsCliRunner().invoke(created.removeprefix("prefect ")).exit_code == 0
    create_queues(client)
    assert queues(client) == PRIORITIES
    pool = client.read_work_pool(POOL)
    assert (pool.type, pool.base_job_template) == ("kubernetes", template)
    template["variables"]["properties"]["command"] = {"type": "string"}
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    with pytest.raises(InputError, match="lets a run choose what a worker executes; run: prefect work-pool update"):
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
    """`e2emern worker` and the units each serve every queue once; trainings have a separate worker."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
    used = {(one["work_pool"]["name"], one["work_pool"]["work_queue_name"]) for one in deployments}
    assert used == {("e2emern", "default"), ("e2emern", "annotate"), ("e2emern", "train")}
    assert (WAITS, WORKS, TRAINS) == (("default",), ("annotate", "backfill"), ("train",))
    assert served(ROOT / "deploy" / "e2emern-coordinator.service") == ["default"]
    assert served(ROOT / "deploy" / "e2emern-worker@.service") == ["annotate", "backfill"]
    assert served(ROOT / "deploy" / "e2emern-trainer@.service") == ["train"]


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


def test_the_preflight_finds_each_fault_of_a_server(
    server: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One fault after the other, each repaired before the next; at the end no fault is left."""

    def trouble() -> dict[str, tuple[str, str]]:
        results = check_server()
        assert all(one.advice for one in results if one.severity)
        return {
            one.check: (one.severity.name.lower(), one.found)
            for one in results
            if one.severity and one.check != "alerts"
        }

    create_queues(server)
    everything = _two_deployments(tmp_path / "prefect.yaml")
    monkeypatch.setattr("e2emern.flows.deploying.PREFECT_FILE", tmp_path / "prefect.yaml")
    settings = tmp_path / "e2emern.toml"
    settings.write_text("home = '/data/home'")
    monkeypatch.setenv("E2EMERN_CONFIG", str(settings))
    assert trouble() == {
        "deployments": ("error", "; ".join(f"{name} is missing" for name in everything)),
        "workers": ("error", "no worker asks for runs of default, annotate, train, backfill"),
    }
    flow = server.create_flow_from_name("any")
    ids = {
        name: server.create_deployment(
            flow_id=flow,
            name=name,
            entrypoint=one["entrypoint"],
            work_pool_name=POOL,
            work_queue_name=one["work_pool"]["work_queue_name"],
            concurrency_limit=one["concurrency_limit"]["limit"],
            schedules=[
                DeploymentScheduleCreate(schedule=CronSchedule(cron=each["cron"], timezone="UTC"), slug=each["slug"])
                for each in one.get("schedules", [])
            ],
        )
        for name, one in everything.items()
    }
    server.request("POST", f"/work_pools/{POOL}/get_scheduled_flow_runs", json={"work_queue_names": QUEUES})  # a worker
    until = time.monotonic() + 120
    while time.monotonic() < until and not all(
        queue.last_polled for queue in server.read_work_queues(work_pool_name=POOL)
    ):
        time.sleep(0.1)  # the server records it in the background
    server.send_worker_heartbeat(POOL, worker_name(["default"]), heartbeat_interval_seconds=30)
    assert trouble() == {}

    queue = next(one for one in server.read_work_queues(work_pool_name=POOL) if one.name == "train")
    server.update_work_queue(queue.id, is_paused=True)
    assert trouble() == {"queues": ("warning", "queue train is paused: its runs wait")}
    server.update_work_queue(queue.id, is_paused=False)

    server.pause_deployment(ids["nightly"])
    will_not = "nightly will not start automatically: paused, or without an active schedule"
    assert trouble() == {"deployments": ("warning", will_not)}
    server.resume_deployment(ids["nightly"])

    server.update_deployment(ids["retrain"], DeploymentUpdate(work_queue_name="annotate", work_pool_name=POOL))
    assert trouble() == {"deployments": ("error", "retrain: queue: annotate -> train")}
    server.update_deployment(ids["retrain"], DeploymentUpdate(work_queue_name="train", work_pool_name=POOL))

    settings.write_text("home = '/data/home'\n[deployments.nightly.schedules.second]\ncron = '0 4 * * *'\n")
    assert trouble() == {"deployments": ("error", "nightly: schedule second: none -> 0 4 * * * UTC")}
    second = CronSchedule(cron="0 4 * * *", timezone="UTC")
    server.create_deployment_schedules(ids["nightly"], [DeploymentScheduleCreate(schedule=second, slug="second")])
    assert trouble() == {}
    settings.write_text("home = '/data/home'\n[deployments.nigthly]\n")
    assert trouble()["deployments"][1].startswith("setting deployments: no deployment 'nigthly'; expected one of ")
    settings.write_text("home = '/data/home'")

    server.send_worker_heartbeat(POOL, "other 7 annotate e2emern-0.0.9", heartbeat_interval_seconds=30)
    ours = importlib.metadata.version("e2emern")
    assert trouble() == {"releases": ("error", f"this host has e2emern {ours}, unlike other 7 annotate e2emern-0.0.9")}
    server.request("DELETE", f"/work_pools/{POOL}/workers/other 7 annotate e2emern-0.0.9")

    night = server.create_flow_run_from_deployment(ids["nightly"])
    server.set_flow_run_state(night.id, Failed(message="pubmed30n0001.xml.gz: damaged"), force=True)
    (name, (severity, found)), *none = trouble().items()
    assert (name, severity, none) == ("last night", "error", [])
    assert found.endswith(" UTC: Failed: pubmed30n0001.xml.gz: damaged")
    server.delete_flow_run(night.id)

    with monkeypatch.context() as other_release:
        other_release.setattr("prefect.__version__", "3.9.0")
        assert trouble()["server"][0] == "error"
    assert trouble() == {}
    server.delete_work_queue_by_id(queue.id)
    assert trouble()["queues"] == ("error", "work pool e2emern has no queue train (found default, annotate, backfill)")
    server.delete_work_pool(POOL)
    assert trouble()["queues"] == ("error", "the Prefect server has no work pool e2emern")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert [(one.check, one.severity.name) for one in check_server()] == [("server", "ERROR")]


def _two_deployments(file: Path) -> dict[str, dict[str, Any]]:
    """Write a file with two of the shipped deployments, without triggers, and return them by name."""
    shipped = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    found = {one["name"]: one for one in shipped["deployments"] if one["name"] in ("nightly", "retrain")}
    found["retrain"].pop("triggers")
    file.write_text(yaml.safe_dump(shipped | {"deployments": [*found.values()]}))
    return found


def test_alerts_notify_the_blocks_of_our_name_and_stay_as_operators_set_them(
    server: SyncPrefectClient, tmp_path: Path
) -> None:
    names = [one["name"] for one in notifications.read_file(notifications.FILE)]
    create_queues(server)

    def of_alerts() -> tuple[str, str]:
        (one,) = (one for one in check_server() if one.check == "alerts")
        return one.severity.name.lower(), one.found

    assert of_alerts() == ("warning", "6 alerts of 6 missing")
    nobody = "nobody is notified: no notification block has the name e2emern (docs/operations.md#notifications)"
    assert notifications.register(server) == [*(f"{name}: new" for name in names), nobody]
    assert {one.name for one in server.read_automations()} == set(names)
    assert of_alerts() == ("warning", "6 alerts of 6 notify nobody")
    drift = notifications.read_alerts(server)["e2emern alert: drift"]
    server.pause_automation(notifications.read_alerts(server)["e2emern alert: long night"].id)

    with receiving() as (address, received):
        block = CustomWebhookNotificationBlock(
            name="hook", url=address, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        block.save("e2emern")
        changed = [f"{name}: notifies custom-webhook/e2emern" for name in names]
        assert notifications.register(server) == changed
        assert notifications.register(server) == []
        assert of_alerts() == ("ok", "6 alerts")
        assert not notifications.read_alerts(server)["e2emern alert: long night"].enabled
        assert notifications.read_alerts(server)["e2emern alert: drift"].id == drift.id

        home = {"prefect.resource.id": "e2emern.home.tables", "e2emern.home": "/data/tables"}
        payload = {"night": "2026-03-09", "nights": 8, "drifted": ["documents", "scores"]}
        (absence,) = (one for one in notifications.read_file(notifications.FILE) if "nothing" in one["name"])
        absence |= {"name": "soon", "trigger": absence["trigger"] | {"within": 10}}
        (tmp_path / "soon.yaml").write_text(yaml.safe_dump({"automations": [absence]}))
        assert notifications.register(server, file=tmp_path / "soon.yaml") == ["soon: new"]
        refused_payload = {"what": "publish", "reason": "documents: was 9, is 1"}
        until, again = time.monotonic() + 240, 0.0
        while len({one["subject"] for one in received}) < 3 and time.monotonic() < until:
            if time.monotonic() > again:  # the server learns of a changed automation some time after the change
                emit_event("e2emern.drift", resource=home, payload=payload)
                emit_event("e2emern.refused", resource=home, payload=refused_payload)
                emit_event("e2emern.published", resource=home)
                again = time.monotonic() + 30
            time.sleep(0.2)
    by_subject = {one["subject"]: one for one in received}
    drifted, absent, refused = (by_subject[subject] for subject in sorted(by_subject))
    assert drifted["subject"] == "e2emern: drift in the night of 2026-03-09"
    assert drifted["body"].startswith("/data/tables: documents, scores drifted, compared with 8 nights.\n")
    assert absent["subject"] == "e2emern: nothing published for 36 hours"
    assert refused["subject"] == "e2emern: publish refused"
    assert refused["body"].startswith("/data/tables: documents: was 9, is 1\n")

    (tmp_path / "wrong.yaml").write_text("automations: [{name: a, trigger: {type: event}, subject: b}]\n")
    with pytest.raises(InputError, match="has an automation without name, trigger, subject or body"):
        notifications.register(server, file=tmp_path / "wrong.yaml")


@contextmanager
def receiving() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook on loopback: its address, and what was posted to it."""
    received: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=hook.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{hook.server_address[1]}/", received
    hook.shutdown()
    hook.server_close()
