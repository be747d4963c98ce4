"""The flow under a real Prefect server, and the deployment of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.exceptions import ParameterTypeError
from prefect.flows import Flow
from prefect.server.events.actions import RunDeployment
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from e2emern.flows.annotate_sources import SourceFile, annotate_batch
from e2emern.flows.backfill import backfill
from e2emern.flows.evaluate import evaluate
from e2emern.flows.nightly import nightly
from e2emern.flows.refresh_mesh import refresh_mesh
from e2emern.flows.retrain import retrain
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.registry.models import add_model
from e2emern.warehouse.sources.locks import is_claimed
from tests.conftest import ROOT
from tests.flows.world import World, another, by_one_worker, dump, rows


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.mark.usefixtures("prefect_server")
def test_a_night_that_a_backfill_overtakes_goes_on_with_its_model(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: a night that had begun before took the tables back to the former model, and the next ones kept to it."""
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


def test_a_batch_is_claimed_before_its_model_is_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: a batch was taken for dead, and sent again, that took longer than three looks to read its model."""
    version, key = model_version(world.model), SourceKey("pubmed30n0001.xml", "0" * 16)
    given = {"home": tmp_path / "home", "model": str(world.model), "mesh": str(world.mesh), "device": "cpu"}
    sources = [SourceFile(name=key.name, path=tmp_path / key.name, digest=key.digest, bytes=1)]
    seen: list[bool] = []

    def read(model: Path, mesh: Path) -> Versions:
        seen.append(is_claimed(Home(tmp_path / "home"), key, Versions(version, "tiny")))
        return Versions(model="other", mesh="tiny")

    monkeypatch.setattr("e2emern.flows.annotate_sources.read_versions", read)
    with pytest.raises(InputError, match=f": is model other, expected {version}; do all hosts have the same release"):
        annotate_batch.fn(sources, version=version, **given)
    assert seen == [True]


def test_parameters_that_mean_nothing_are_refused() -> None:
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
    }  # Prefect ignores what it does not know, and says nothing


def test_what_an_event_begins_works_on_the_home_that_sent_it() -> None:
    triggers = [one for each in DESCRIBED["deployments"] for one in each.get("triggers", [])]
    assert triggers
    for trigger in triggers:
        action = RunDeployment(source="inferred", parameters=trigger["parameters"])
        assert action.parameters == {
            "home": {"__prefect_kind": "jinja", "template": "{{ event.resource['e2emern.home'] }}"}
        }
