"""What runs in production, as it runs there: a server, workers, deployments; and what may befall them at night."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from flows.annotate import annotate_sources
from flows.backfill_on_pool import QUEUE
from tests.conftest import ROOT
from tests.disk import full_disk
from tests.e2e.installation import Installation, wait_for
from tests.flows.world import World, dump, rows, tables
from tests.tasks.ingest.serving import serving
from warehouse.layout import Home
from warehouse.snapshot import current_snapshot

DESCRIBED: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_what_is_deployed_is_what_the_file_says(installation: Installation, tell: Callable[[str], None]) -> None:
    deployed = {one["name"]: one for one in installation.post("deployments/filter")}
    assert set(deployed) == {one["name"] for one in DESCRIBED["deployments"]}
    for described in DESCRIBED["deployments"]:
        found = deployed[described["name"]]
        pool = described["work_pool"]
        assert (found["work_pool_name"], found["work_queue_name"]) == (pool["name"], pool["work_queue_name"])
        assert found["entrypoint"] == described["entrypoint"]
        assert found["enforce_parameter_schema"]
        schedules = [
            {"cron": one["schedule"]["cron"], "timezone": one["schedule"]["timezone"], "active": one["active"]}
            for one in found["schedules"]
        ]
        assert schedules == described.get("schedules", [])
        limit = found["global_concurrency_limit"]
        assert (limit and limit["limit"]) == described.get("concurrency_limit", {}).get("limit")
    queues = {one["name"] for one in installation.post("work_pools/e2emern/queues/filter")}
    assert queues - {QUEUE} == {"default", "annotate", "train"}  # which a backfill has made, or not yet
    automations = installation.post("automations/filter")
    triggers = [one for each in DESCRIBED["deployments"] for one in each.get("triggers", [])]
    assert len(automations) == len(triggers)
    tell(f"{len(deployed)} deployments, {len(automations)} triggers")


def test_the_server_plans_the_nights(installation: Installation, tell: Callable[[str], None]) -> None:
    (nightly,) = [one for one in DESCRIBED["deployments"] if one["name"] == "nightly"]
    minute, hour, *_ = nightly["schedules"][0]["cron"].split()
    wanted = {"deployments": {"name": {"any_": ["nightly"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    planned = wait_for(lambda: installation.post("flow_runs/filter", wanted), what="nights are planned")
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in planned if run["auto_scheduled"]]
    assert times
    assert {(time.hour, time.minute) for time in times} == {(int(hour), int(minute))}
    assert len({time.date() for time in times}) == len(times)
    tell(f"{len(times)} nights planned")


def test_from_a_file_on_a_server_to_an_answer(installation: Installation, tell: Callable[[str], None]) -> None:
    """A night fetches, annotates and publishes; a file that cannot be read is told, and mended by the next night."""
    home = installation.folder / "home"
    installation.start_worker("first")
    with serving() as site:
        site.add("pubmed30n0001.xml.gz", dump(1))
        site.add("pubmed30n0002.xml.gz", gzip.compress(b"<html></html>", mtime=0))
        night = installation.run("nightly", sources=[site.url])
        assert night["state_type"] == "FAILED"
        assert "pubmed30n0002.xml.gz: " in night["state"]["message"]
        assert rows(home, "SELECT count(*) FROM documents") == [(20,)]

        site.add("pubmed30n0002.xml.gz", dump(2))
        night = installation.run("nightly", sources=[site.url])
    assert (night["state_type"], night["state"]["message"]) == ("COMPLETED", None)
    assert rows(home, "SELECT count(*) FROM documents") == [(40,)]
    assert rows(home, "SELECT count(*) > 40 FROM mentions JOIN entity_tree USING (mesh_id) WHERE ancestor_id='D009369'")
    artifacts = {one["key"] for one in installation.post("artifacts/latest/filter")}
    assert {"night-home", "progress-pubmed30n0001-xml-gz", "progress-pubmed30n0002-xml-gz"} <= artifacts
    tell("a night from HTTP to SQL, an unreadable file mended by the next")


def test_a_worker_is_killed_and_the_server_restarts_in_mid_run(
    installation: Installation, world: World, tell: Callable[[str], None]
) -> None:
    """Two workers share 12 sources; the tables are those of one process that nobody disturbed."""
    source, home = installation.folder / "twelve", installation.folder / "shared"
    source.mkdir()
    for number in range(1, 13):
        (source / f"pubmed30n{number:04}.xml.gz").write_bytes(dump(number, documents=60))
    installation.start_worker("second")
    ended = installation.begin("nightly", home=str(home), sources=[str(source)])
    wait_for(lambda: at_work(installation, "second"), what="the second worker is at work")
    installation.kill_worker("second")
    wait_for(lambda: len(list(home.glob("mentions/*/[!.]*.parquet"))) >= 2, what="two sources are done")
    with installation.place_of("backfill") as keep_place:
        installation.stop_server()
        installation.start_server()
        keep_place()  # Prefect ends a run that cannot, some minutes later
    night = wait_for(ended, what="the night ends")
    assert night["state_type"] == "COMPLETED", night["state"]["message"]

    annotate_sources([home / "dumps"], installation.folder / "plain", model=world.model, mesh=world.mesh, device="cpu")
    assert tables(home) == tables(installation.folder / "plain")
    assert rows(home, "SELECT count(*) FROM documents") == [(720,)]
    crashed = installation.post("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["CRASHED"]}}}})
    assert "its worker was killed" in {one["state"]["message"] for one in crashed}
    tell("12 sources by two workers, one killed, the server restarted")


def test_batches_outlast_the_run_that_sent_them(installation: Installation, tell: Callable[[str], None]) -> None:
    """The coordinator dies, the next night waits for what it sent; then a batch is deleted, and the dead run cancelled.

    Prefect cancels all that a cancelled run has sent, whoever waits for it by now.
    """
    source, home = installation.folder / "six", installation.folder / "inherited"
    source.mkdir()
    for number in range(1, 7):
        (source / f"pubmed30n{number:04}.xml.gz").write_bytes(dump(number))
    given = {"home": str(home), "sources": [str(source)]}
    with installation.paused("annotate"):
        installation.start_worker("third")
        installation.begin("nightly", **given)
        (dead,) = wait_for(lambda: installation.runs("nightly", "RUNNING"), what="a night")
        wait_for(lambda: len(installation.runs("annotate-sources", "SCHEDULED")) == 2, what="its batches")
        first, second = installation.runs("annotate-sources", "SCHEDULED")
        installation.kill_workers()
        installation.set_state(dead, "CRASHED")  # its place is free, as after some minutes

        installation.start_worker("fourth")
        ended = installation.begin("nightly", **given)
        (alive,) = wait_for(lambda: installation.runs("nightly", "RUNNING"), what="the next night")
        wait_for(lambda: "in 2 batches" in installation.log(alive), what="it finds the batches")
        installation.delete(first)
        installation.set_state(dead, "CANCELLED")
        wait_for(lambda: second in installation.runs("annotate-sources", "CANCELLED"), what="Prefect cancels the other")
    night = wait_for(ended, what="the night ends")
    assert night["state_type"] == "COMPLETED", night["state"]["message"]
    assert rows(home, "SELECT count(*) FROM documents") == [(120,)]
    tell("a night took over the batches of a dead one")


def test_no_model_then_a_full_disk_then_all_is_well(
    installation: Installation, world: World, tell: Callable[[str], None]
) -> None:
    source, home = installation.folder / "one", installation.folder / "disk" / "home"
    source.mkdir()
    (source / "pubmed30n0001.xml.gz").write_bytes(dump(1, documents=120))
    given = {"home": str(home), "sources": [str(source)]}
    with full_disk(installation.folder / "disk") as make_room:
        make_room(64 << 10)  # enough for the dump, and not for what is made of it
        night = installation.run("nightly", **given, model=str(installation.folder / "none"))
        assert night["state_type"] == "FAILED"
        assert night["state"]["message"].endswith("none: no such model folder, and no version of the home")

        night = installation.run("nightly", **given)
        assert night["state_type"] == "FAILED"
        assert night["state"]["message"].endswith("No space left on device")
        assert "\n" not in night["state"]["message"]
        assert current_snapshot(Home(home)) is None

        make_room(16 << 20)
        night = installation.run("nightly", **given)
        assert night["state_type"] == "COMPLETED"
        assert list(home.rglob(".writing-*")) == []
        plain = installation.folder / "undisturbed"
        annotate_sources([source], plain, model=world.model, mesh=world.mesh, device="cpu")
        assert tables(home) == tables(plain)
    tell("no model, a full disk, both mended by the next night")


def at_work(installation: Installation, worker: str) -> bool:
    """Whether a process of a worker holds a claim."""
    family = psutil.Process(installation.workers[worker].pid).children(recursive=True)
    return any(Path(file.path).name.startswith(".claim-") for one in family for file in opened(one))


def opened(process: psutil.Process) -> list[Any]:
    try:
        return list(process.open_files())
    except psutil.Error:
        return []
