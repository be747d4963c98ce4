"""The flow under a real Prefect server, and the deployment of it."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from uuid import UUID

import prefect
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ParameterTypeError
from prefect.flow_engine import run_flow_sync
from prefect.flows import Flow
from prefect.logging import disable_run_logger
from prefect.server.events.actions import RunDeployment
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Running
from prefect.testing.utilities import prefect_test_harness

from e2emern.flows.annotate import IncompleteError, Outcome, annotate_sources
from e2emern.flows.annotate_sources import SourceFile, annotate_batch
from e2emern.flows.backfill import backfill
from e2emern.flows.evaluate import evaluate
from e2emern.flows.nightly import nightly
from e2emern.flows.pool import RUNBOOK, annotate_on_pool
from e2emern.flows.queues import POOL, connect, create_queues
from e2emern.flows.refresh_mesh import refresh_mesh
from e2emern.flows.retrain import retrain
from e2emern.flows.settings import read_settings
from e2emern.model.version import model_version
from e2emern.tasks.annotate import annotate_share
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import load, read_versions
from e2emern.tasks.resolve import find_mesh
from e2emern.tasks.sources import find_sources
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.registry.models import add_model
from e2emern.warehouse.sources.counts import finished
from e2emern.warehouse.sources.locks import claimed, is_claimed
from e2emern.warehouse.sources.runs import FLOW_RUN, read_run
from tests.conftest import ROOT
from tests.flows.world import World, another, articles, by_one_worker, dump, finished_files, pubmed, rows, tables
from tests.network_storage import NetworkStorage


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.mark.usefixtures("prefect_server")
def test_a_night_overtaken_by_a_backfill_continues_with_the_new_model(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: a night that had started earlier changed the tables back to the old model, and later nights kept it."""
    home, source, new = tmp_path / "home", tmp_path / "in", another(world, tmp_path)
    add_model(Home(home), new, version=model_version(new))
    source.mkdir()
    (source / "pubmed30n0001.xml.gz").write_bytes(dump(1))
    monkeypatch.setenv("E2EMERN_SOURCES", str(source))
    events: list[Callable[[], object]] = []
    monkeypatch.setattr("e2emern.flows.nightly.annotate_on_pool", by_one_worker(events))
    nightly(home, model=str(world.model), mesh=str(world.mesh))

    (source / "pubmed30n0002.xml.gz").write_bytes(dump(2))
    add_model(Home(home), world.model, version=model_version(world.model))
    events.append(lambda: backfill(home, model=new, device="cpu", publishing=True))
    nightly(home)
    assert rows(home, "SELECT number, operation, documents FROM snapshot") == [(3, "annotate", 40)]
    assert rows(home, "SELECT model_version FROM snapshot") == [(model_version(new),)]
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_flow_runs()}
    assert [name for name in names if re.fullmatch(r"nightly 20\d\d-\d\d-\d\d home", name)]


@pytest.mark.usefixtures("prefect_server")
def test_the_coordinator_waits_for_a_workers_files_on_network_storage(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network_storage: NetworkStorage
) -> None:
    """Cause: all batches completed, yet the night failed: its listing was older than the files of the workers."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "pubmed30n0001.xml.gz").write_bytes(dump(1))
    (source / "pubmed30n0002.xml.gz").write_bytes(b"no gzip" + b" " * 300_000)  # large, so its first share fails
    monkeypatch.setenv("E2EMERN_DEVICE", "cpu")
    worked: list[FlowRun] = []

    def on_another_host(*_: object, parameters: dict[str, Any], **__: object) -> FlowRun:
        with network_storage.elsewhere(), get_client(sync_client=True) as client:
            state = annotate_batch(**parameters, return_state=True)
            worked.append(client.read_flow_run(state.state_details.flow_run_id))
        return worked[-1].model_copy(update={"state": None})  # as when it was sent

    @prefect.flow(name="night")
    def night(home: Path) -> Outcome:
        place = Home(home)
        make_home(place)
        versions = read_versions(world.model, world.mesh)
        place.mentions_folder(versions).mkdir(parents=True)
        assert finished(place, versions) == frozenset()  # this host has listed the folder
        settings = read_settings(home=home, poll=0.05, batch=100)
        given = {"model": str(world.model), "mesh": str(world.mesh), "settings": settings}
        try:
            return annotate_on_pool(find_sources([source]), place, **given)
        except IncompleteError as error:
            return error.outcome

    monkeypatch.setattr("e2emern.flows.pool.run_deployment", on_another_host)
    network_storage.openings = 7
    outcome = night(tmp_path / "home")
    assert [one.summary.key.name for one in outcome.annotated] == ["pubmed30n0001.xml.gz"]
    assert {name: reason.split(";")[0] for name, reason in outcome.failed.items()} == {
        "pubmed30n0002.xml.gz": "starts with 'no gzip             '"
    }
    assert len(worked) == 2
    assert rows(tmp_path / "home", "SELECT count(*) FROM documents") == [(20,)]

    network_storage.openings = 10_000
    monkeypatch.setattr("e2emern.flows.pool._SEEN_WITHIN_S", 0.2)
    host = socket.gethostname()
    assert night(tmp_path / "other").failed["pubmed30n0001.xml.gz"] == (
        f"its mentions were written on {host}, and {host} does not see them after 0 s; mount the same storage as "
        f"{tmp_path / 'other'} (setting home) on both hosts; see {RUNBOOK}"
    )


def die_in(run: FlowRun, parameters: dict[str, Any], server: str) -> None:
    """Run a batch in a process that kills itself as soon as it starts to annotate."""
    with (
        temporary_settings({PREFECT_API_URL: server, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        patch("e2emern.flows.annotate_sources.annotate_share", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)),
    ):
        run_flow_sync(annotate_batch, flow_run=run, parameters=parameters)


@dataclass
class TwoWorkers:
    """Two threads that work like workers; `threads` has their context, in which no flow runs.

    The first run of share 1 is killed before it has annotated anything; that of share 2 when the source is done.
    """

    home: Home
    versions: Versions
    runs: list[tuple[int | None, UUID]] = field(default_factory=list)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    context: Context = field(default_factory=copy_context)

    def send(self, deployment: str, *, parameters: dict[str, Any], **given: Any) -> FlowRun:
        """Start a run, and give it to the workers; the server returns the run of an idempotency key that it knows."""
        run = cast(FlowRun, run_deployment(deployment, parameters=parameters, **given))
        if run.id in [known for _, known in self.runs]:
            return run
        is_first = parameters["share"] not in dict(self.runs)
        self.runs.append((parameters["share"], run.id))
        work = {1: self.be_killed, 2: self.end_without_a_word}.get(parameters["share"]) if is_first else None
        self.threads.submit(self.context.copy().run, work or self.work, run, parameters)
        return run

    def work(self, run: FlowRun, parameters: dict[str, Any]) -> None:
        run_flow_sync(annotate_batch, flow_run=run, parameters=parameters, return_type="state")

    def be_killed(self, run: FlowRun, parameters: dict[str, Any]) -> None:
        process = get_context("spawn").Process(target=die_in, args=(run, parameters, PREFECT_API_URL.value()))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    def end_without_a_word(self, run: FlowRun, parameters: dict[str, Any]) -> None:
        (key,) = (SourceFile(**one).source.key for one in parameters["sources"])
        with get_client(sync_client=True) as client, claimed(self.home, [key], self.versions, share=2):
            client.set_flow_run_state(run.id, Running(), force=True)
            (source,) = find_sources([parameters["sources"][0]["path"]])
            cascade = load(Path(parameters["model"]), find_mesh(Path("tiny"), home=self.home), home=self.home)
            annotate_share(source, share=2, annotator=InProcess(cascade), home=self.home, part=parameters["part"])
            while not self.home.mentions(key, self.versions).exists():
                time.sleep(0.05)


@pytest.mark.usefixtures("prefect_server")
def test_two_workers_share_a_large_source_and_the_runs_of_killed_ones_are_marked(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: the run of a worker that died stayed Running, since others had completed its source."""
    path = tmp_path / "pubmed30n0001.xml"
    texts = articles(100, first=0) * 7
    content = pubmed([(number, title, text) for number, (_, title, text) in enumerate(texts, start=1)])
    path.write_text(content + "\n" * 1_500_000)  # its size lets the first look expect 300 records, two parts
    monkeypatch.setenv("E2EMERN_DEVICE", "cpu")
    home = Home(tmp_path / "home")
    workers = TwoWorkers(home, read_versions(world.model, world.mesh))
    monkeypatch.setattr("e2emern.flows.pool.run_deployment", workers.send)
    with connect() as client:
        create_queues(client)
        client.create_deployment(
            flow_id=client.create_flow(annotate_batch),
            name="annotate-sources",
            work_pool_name=POOL,
            parameter_openapi_schema=annotate_batch.parameters.model_dump(),
            enforce_parameter_schema=True,
        )

    @prefect.flow(name="night")
    def night() -> Outcome:
        settings = read_settings(home=home.root, poll=0.1, unlocked=4.0, batch=1)
        given = {"model": str(world.model), "mesh": str(world.mesh), "settings": settings}
        return annotate_on_pool(find_sources([path]), home, **given)

    outcome = night()
    workers.threads.shutdown()
    assert [one.summary.counts.annotated for one in outcome.annotated] == [700]
    assert outcome.failed == {}
    assert sorted(share for share, _ in workers.runs if share is not None) == [0, 1, 1, 2]
    with get_client(sync_client=True) as client:
        runs = [(share, client.read_flow_run(run)) for share, run in workers.runs]
    states = [(share, run.state) for share, run in runs]
    assert len({run.expected_start_time for _, run in runs[:3]}) == 1  # all shares come before other sources
    assert [(share, state.type.value) for share, state in states if state] == [
        (0, "COMPLETED"), (1, "CRASHED"), (2, "CRASHED"), (1, "COMPLETED")
    ]  # fmt: skip
    assert all((state.message or "").startswith("its worker was killed") for _, state in states[1:3] if state)
    records = [read_run(path) for path in home.runs.glob("*.json")]
    ((first,),) = (one.sources for one in records if one.options.get(FLOW_RUN) == str(workers.runs[0][1]))
    assert (first.outcome, first.written, first.parts) == ("part", 1, 3)
    annotate_sources([path], tmp_path / "plain", model=world.model, mesh=world.mesh, device="cpu")
    assert tables(home.root) == tables(tmp_path / "plain")
    assert finished_files(home.root) == finished_files(tmp_path / "plain")


def test_a_batch_is_claimed_before_its_model_is_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: a batch that needed longer than three polls to load its model was considered dead and sent again."""
    version, key = model_version(world.model), SourceKey("pubmed30n0001.xml", "0" * 16)
    given = {"home": tmp_path / "home", "model": str(world.model), "mesh": str(world.mesh)}
    sources = [SourceFile(name=key.name, path=tmp_path / key.name, digest=key.digest, bytes=1)]
    seen: list[bool] = []

    def read(model: Path, mesh: Path) -> Versions:
        seen.append(is_claimed(Home(tmp_path / "home"), key, Versions(version, "tiny")))
        return Versions(model="other", mesh="tiny")

    monkeypatch.setattr("e2emern.flows.annotate_sources.read_versions", read)
    with (
        disable_run_logger(),
        pytest.raises(
            InputError, match=f": is model other on .*, but the sender has {version}; install the same release"
        ),
    ):
        annotate_batch.fn(sources, version=version, **given)
    assert seen == [True]


def test_unknown_parameters_are_refused() -> None:
    given = {"sources": [], "home": "home", "model": "model", "version": "1", "mesh": "mesh"}
    for flow, parameters, message in (
        (evaluate, {"gold": []}, "gold: List should have at least 1 item"),
        (refresh_mesh, {"sources": []}, "sources: List should have at least 1 item"),
        (retrain, {"margins": {"document": 2}}, "margins.document: Input should be less than or equal to 1"),
        (evaluate, {"gold": ["g"], "margins": {"unseen": -1}}, "margins.unseen: Input should be greater than or equal"),
        (annotate_batch, given, "home: Value error, found 'home', expected an absolute path"),
    ):
        with pytest.raises(ParameterTypeError, match=message):
            flow.validate_parameters(parameters)
    assert [
        one.parameters.properties[name]["minItems"] for one, name in ((evaluate, "gold"), (refresh_mesh, "sources"))
    ] == [1, 1]


DESCRIBED: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())


@pytest.mark.parametrize("deployment", DESCRIBED["deployments"], ids=lambda one: str(one["name"]))
def test_a_deployment_names_a_flow_whose_parameters_are_described(deployment: dict[str, Any]) -> None:
    module, name = deployment["entrypoint"].rsplit(".", 1)
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow)
    assert flow.name == deployment["name"]
    for one, described in flow.parameters.properties.items():
        assert described.get("description"), f"{flow.name} does not say what {one} is"
    assert set(deployment) <= {
        "name",
        "description",
        "entrypoint",
        "work_pool",
        "concurrency_limit",
        "schedules",
        "triggers",
        "parameters",
    }  # Prefect silently ignores unknown keys


def test_runs_started_by_an_event_use_the_home_that_sent_it() -> None:
    triggers = [one for each in DESCRIBED["deployments"] for one in each.get("triggers", [])]
    assert triggers
    for trigger in triggers:
        action = RunDeployment(source="inferred", parameters=trigger["parameters"])
        assert action.parameters == {
            "home": {"__prefect_kind": "jinja", "template": "{{ event.resource['e2emern.home'] }}"}
        }
