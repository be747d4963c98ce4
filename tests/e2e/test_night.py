"""A whole installation as in production: a server, workers, deployments; and the failures of a night."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from e2emern.flows.annotate import annotate_sources
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.reader import current_snapshot
from tests.disk import full_disk
from tests.e2e.installation import Installation, wait_for
from tests.flows.world import World, dump, rows, tables

WORKER = "e2emern-worker@.service"


def test_a_worker_is_killed_and_the_server_restarts_in_mid_run(
    installation: Installation, world: World, note: Callable[[str], None]
) -> None:
    """Two workers share 12 sources; the tables are those of one process that nobody disturbed."""
    source, home = installation.folder / "twelve", installation.folder / "shared"
    source.mkdir()
    for number in range(1, 13):
        (source / f"pubmed30n{number:04}.xml.gz").write_bytes(dump(number, documents=60))
    installation.start_worker(WORKER, "0")
    ended = installation.begin("nightly", home=str(home), sources=[str(source)])
    wait_for(lambda: at_work(installation, WORKER), what="the second worker is busy")
    installation.kill_worker(WORKER)
    wait_for(lambda: len(list(home.glob("mentions/*/[!.]*.parquet"))) >= 2, what="two sources are done")
    with installation.place_of("backfill") as keep_place:
        installation.stop_server()
        installation.start_server(unit="e2emern-server.service")
        keep_place()  # Prefect ends a run that cannot, some minutes later
    night = wait_for(ended, what="the night ends")
    assert night["state_type"] == "COMPLETED", night["state"]["message"]

    annotate_sources([home / "dumps"], installation.folder / "plain", model=world.model, mesh=world.mesh, device="cpu")
    assert tables(home) == tables(installation.folder / "plain")
    assert rows(home, "SELECT count(*) FROM documents") == [(720,)]
    crashed = installation.post("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["CRASHED"]}}}})
    assert any(one["state"]["message"].startswith("its worker was killed: ") for one in crashed)
    assert len(list((home / "snapshots").glob("[0-9]*.duckdb"))) > 1  # the first load was shown before its end
    assert examine(Home(home)) == []  # the run of the killed worker is recorded as killed
    note("12 sources by two workers, one killed, the server restarted")


def test_batches_outlast_the_run_that_sent_them(installation: Installation, note: Callable[[str], None]) -> None:
    """The coordinator dies, the next night waits for what it sent; then a batch is deleted, and the dead run cancelled.

    Prefect cancels all that a cancelled run has sent, whoever waits for it by now.
    """
    source, home = installation.folder / "six", installation.folder / "inherited"
    source.mkdir()
    for number in range(1, 7):
        (source / f"pubmed30n{number:04}.xml.gz").write_bytes(dump(number))
    given = {"home": str(home), "sources": [str(source)]}
    with installation.paused("annotate"):
        installation.begin("nightly", **given)
        (dead,) = wait_for(lambda: installation.runs("nightly", "RUNNING"), what="a night")
        wait_for(lambda: len(installation.runs("annotate-sources", "SCHEDULED")) == 2, what="its batches")
        first, second = installation.runs("annotate-sources", "SCHEDULED")
        installation.kill_workers()
        installation.set_state(dead, "CRASHED")  # its place is free, as after some minutes

        installation.start_worker("e2emern-coordinator.service")
        installation.start_worker(WORKER, "0")
        ended = installation.begin("nightly", **given)
        (alive,) = wait_for(lambda: installation.runs("nightly", "RUNNING"), what="the next night")
        wait_for(lambda: "in 2 batches" in installation.log(alive), what="it finds the batches")
        installation.delete(first)
        installation.set_state(dead, "CANCELLED")
        wait_for(lambda: second in installation.runs("annotate-sources", "CANCELLED"), what="Prefect cancels the other")
    night = wait_for(ended, what="the night ends")
    assert night["state_type"] == "COMPLETED", night["state"]["message"]
    assert rows(home, "SELECT count(*) FROM documents") == [(120,)]
    note("a night took over the batches of a dead one")


def test_no_model_then_a_full_disk_then_all_is_well(
    installation: Installation, world: World, note: Callable[[str], None]
) -> None:
    source, home = installation.folder / "one", installation.folder / "disk" / "home"
    source.mkdir()
    (source / "pubmed30n0001.xml.gz").write_bytes(dump(1, documents=120))
    given = {"home": str(home), "sources": [str(source)]}
    with full_disk(installation.folder / "disk") as make_room:
        make_room(16 << 20)
        night = installation.run("nightly", **given, model=str(installation.folder / "none"))
        assert night["state_type"] == "FAILED"
        assert night["state"]["message"].endswith(
            "none: no such model folder, and no version of the home (setting model, or --model)"
        )

        make_room(64 << 10)  # the dump is fetched; not enough for what is made of it
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
    note("no model, a full disk, both fixed by the next night")


def at_work(installation: Installation, worker: str) -> bool:
    """Whether a process of a worker holds a claim."""
    family = psutil.Process(installation.workers[worker].pid).children(recursive=True)
    return any(Path(file.path).name.startswith(".claim-") for one in family for file in opened(one))


def opened(process: psutil.Process) -> list[Any]:
    try:
        return list(process.open_files())
    except psutil.Error:
        return []
