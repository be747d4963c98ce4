"""A fortnight of one installation, in order: each test continues where the previous one ended.

After each step the tables equal an oracle (`tests/soak/oracle.py`, or one undisturbed process), and the preflight
has the expected findings. Seven earlier runs without new files give drift a history.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from playwright.sync_api import Page

from e2emern.flows.annotate import annotate_sources
from e2emern.model.version import model_version
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.files import locked
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import champion
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.snapshots.refs import numbers
from e2emern.warehouse.sources.runs import RunRecord, write_run
from tests.browser import chromium, needs_chromium
from tests.conftest import ROOT
from tests.disk import full_disk
from tests.e2e.commands import readme_commands
from tests.e2e.fortnight import Fortnight, at_work, issue_of, write_tables
from tests.e2e.installation import Installation, wait_for
from tests.flows.challengers import MARGINS, crown, make_challengers
from tests.flows.command import run
from tests.flows.world import World, dump, rows, tables
from tests.pages import block, typed
from tests.soak.home import answers, make_worlds, next_mesh
from tests.soak.oracle import expected
from tests.tasks.ingest.serving import Site

WORKER = "e2emern-worker@.service"
SHOTS = ROOT / "build" / "prefect"
SLOW_MS = 120_000  # a busy machine
CORRECTED = """7|t|Cisplatin induced renal failure.
7|a|
7\t0\t9\tCisplatin\tChemical\tC007
7\t18\t31\trenal failure\tDisease\tD004
"""


@pytest.fixture(scope="module")
def fortnight(installation: Installation, world: World, site: Site) -> Fortnight:
    """Before the first night: a champion, and seven nights without new files."""
    installation.configure("nightly", mesh=str(world.mesh))  # until the tables have a version
    begun = Fortnight(installation, world, site, model_version(world.model))
    make_challengers(installation.folder / "gold", world)
    crown(begun.home, world.model)
    for day in range(1, 8):
        began = f"2026-01-{day:02}T02:30:00+00:00"
        write_run(begun.home, RunRecord(run_id=f"2026010{day}T023000Z-1", started=began, finished=began, host="night"))
    return begun


@pytest.fixture(scope="module")
def given(fortnight: Fortnight) -> dict[str, Any]:
    """The parameters of a retraining, apart from its recipe."""
    return {"margins": asdict(MARGINS), "sample": str(fortnight.folder / "gold" / "sample.xml")}


def test_day_1_a_first_load_with_a_bad_file_a_killed_worker_and_a_restarted_server(
    fortnight: Fortnight, note: Callable[[str], None]
) -> None:
    """Two workers share 12 files. The night publishes before its end, and its documents have drifted."""
    installation, home = fortnight.installation, fortnight.home
    assert readme_commands() == block("operations", "make server")
    fortnight.issue(*(issue_of(number, range(1000 * number, 1000 * number + 60)) for number in range(1, 13)))
    fortnight.issue(issue_of(13, range(13000, 13005), readable=0))
    installation.start_worker(WORKER, "0")
    ended = installation.begin_night()
    wait_for(lambda: at_work(installation, WORKER), what="the second worker is busy")
    installation.kill_worker(WORKER)
    wait_for(lambda: len(list(home.root.glob("mentions/*/[!.]*.parquet"))) >= 2, what="two sources are done")
    with installation.place_of("backfill") as keep_place:
        installation.stop_server()
        installation.start_server(unit="e2emern-server.service")
        keep_place()  # Prefect ends a run that cannot, some minutes later
    night = wait_for(ended, what="the night ends")
    assert night["state_type"] == "FAILED"
    assert "pubmed30n0013.xml.gz: " in night["state"]["message"]
    assert answers(home) == expected(fortnight.issued, model=fortnight.model, mesh="tiny")
    assert rows(home.root, "SELECT count(*) FROM documents") == [(720,)]
    crashed = installation.post("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["CRASHED"]}}}})
    assert any(one["state"]["message"].startswith("its worker was killed: ") for one in crashed)
    assert len(list((home.root / "snapshots").glob("[0-9]*.duckdb"))) > 1  # the first load was shown before its end
    assert examine(home) == []  # the run of the killed worker is recorded as killed
    code, found = installation.check()
    assert (code, list(found)) == (2, ["last night"])
    assert ": Failed: " in found["last night"]
    note("a first load of 12 files by two workers, one killed, the server restarted")


def test_day_2_drift_without_new_labels_trains_nothing(fortnight: Fortnight) -> None:
    """It writes documents worth correcting instead. Later nights drift too, so the operator turns the trigger off."""
    retrained = fortnight.installation.triggered("e2emern drift")
    assert retrained["state_type"] == "COMPLETED", retrained["state"]["message"]
    drifted = fortnight.artifact("drift-home")["description"]
    assert drifted.endswith("compared with 7 nights before: drifted in documents")
    assert list(fortnight.home.to_correct.glob("*.pubtator"))
    assert champion(fortnight.home) == fortnight.model
    fortnight.installation.enable("e2emern drift", on=False)


def test_day_3_the_file_is_fixed_and_an_update_revises_and_deletes(
    fortnight: Fortnight, note: Callable[[str], None]
) -> None:
    fortnight.issue(issue_of(13, range(13000, 13005)))
    fortnight.issue(issue_of(14, range(1050, 1062), deleted=(2000, 13001)))  # ten revised, two new
    night = fortnight.night()
    assert re.fullmatch(r"nightly 20\d\d-\d\d-\d\d home", night["name"])
    fortnight.tables_are_right()
    (shown,) = rows(fortnight.home.root, "SELECT count(*) FROM documents")
    assert shown == (725,)
    artifacts = {one["key"]: one["data"] for one in fortnight.installation.post("artifacts/latest/filter")}
    assert {"night-home", "batch", "progress-all-batches", "progress-batch", "workers-home"} <= artifacts.keys()
    assert not [key for key in artifacts if key.startswith("progress-pubmed")]  # their files are done
    done = [(row["source"], row["documents"], row["state"]) for row in json.loads(artifacts["batch"])]
    assert done == [("pubmed30n0013.xml.gz", 5, "complete"), ("pubmed30n0014.xml.gz", 12, "complete")]
    question = f".venv/bin/e2emern sql --home {fortnight.home.root} --format json 'SELECT count(*) AS n FROM documents'"
    answer = subprocess.run(shlex.split(question), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(answer) == [{"n": 725}]
    note("README's commands, a night from HTTP to SQL, an unreadable file fixed by the next; revisions and deletions")


def test_day_4_batches_outlast_the_run_that_sent_them(fortnight: Fortnight, note: Callable[[str], None]) -> None:
    """The coordinator dies, the next night waits for its batches, then one is deleted, and the dead run cancelled.

    Prefect cancels everything that a cancelled run has sent, even if another run waits for it by now.
    """
    installation = fortnight.installation
    fortnight.issue(*(issue_of(number, range(1000 * number, 1000 * number + 4)) for number in range(15, 21)))
    with installation.paused("annotate"):
        installation.begin("nightly")
        (dead,) = wait_for(lambda: installation.runs("nightly", "RUNNING"), what="a night")
        wait_for(lambda: len(installation.runs("annotate-sources", "SCHEDULED")) == 2, what="its batches")
        first, second = installation.runs("annotate-sources", "SCHEDULED")
        installation.kill_workers()
        installation.set_state(dead, "CRASHED")  # its slot is free, as after some minutes

        installation.start_worker("e2emern-coordinator.service")
        installation.start_worker(WORKER, "0")
        ended = installation.begin("nightly")
        (alive,) = wait_for(lambda: installation.runs("nightly", "RUNNING"), what="the next night")
        wait_for(lambda: "in 2 batches" in installation.log(alive), what="it finds the batches")
        pruned = fortnight.run("prune")
        assert pruned["state_name"] == "Skipped"
        assert re.fullmatch(r"nothing was deleted: run \S+ on \S+ is active", pruned["state"]["message"])
        installation.delete(first)
        installation.set_state(dead, "CANCELLED")
        wait_for(lambda: second in installation.runs("annotate-sources", "CANCELLED"), what="Prefect cancels the other")
    night = wait_for(ended, what="the night ends")
    assert night["state_type"] == "COMPLETED", night["state"]["message"]
    installation.kill_workers()
    installation.settings["batch"] = 1000  # parsed records are counted: a process for each file would be slow
    installation.start_workers(by=typed("operations", "e2emern worker"))
    installation.wait_until_well()
    fortnight.tables_are_right()
    note("a night took over the batches of a dead one; nothing was pruned meanwhile")


def test_day_5_another_home_without_a_model_then_on_a_full_disk_while_a_model_is_evaluated(
    fortnight: Fortnight, note: Callable[[str], None]
) -> None:
    """A night does not wait for an evaluation.

    Cause: on one host, a batch of one record waited 14 minutes behind a retraining. The lock makes it wait.
    """
    installation, world = fortnight.installation, fortnight.world
    source, home = fortnight.folder / "one", fortnight.folder / "disk" / "other"
    source.mkdir()
    (source / "pubmed30n0001.xml.gz").write_bytes(dump(1, documents=120))
    given = {"home": str(home), "sources": [str(source)], "mesh": str(world.mesh)}
    with full_disk(fortnight.folder / "disk") as make_room:
        make_room(16 << 20)
        night = installation.run("nightly", **given, model=str(fortnight.folder / "none"))
        assert night["state_type"] == "FAILED"
        assert night["state"]["message"].endswith(
            "none: no such model folder or version in the home (setting model, or --model)"
        )

        make_room(64 << 10)  # enough to fetch the dump, but not for its tables
        night = installation.run("nightly", **given, model=str(world.model))
        assert night["state_type"] == "FAILED"
        assert night["state"]["message"].endswith("No space left on device")
        assert "\n" not in night["state"]["message"]
        assert current_snapshot(Home(home)) is None
        code, found = installation.check(home=home)
        assert (code, {"disk", "last night"} <= found.keys()) == (2, True)

        make_room(16 << 20)
        gold = [f"tiny/dev={fortnight.folder / 'gold' / 'corpus.parquet'}"]
        with locked(fortnight.home.lock):
            ended = installation.begin("evaluate", gold=gold)
            wait_for(lambda: installation.runs("evaluate", "RUNNING"), what="an evaluation runs")
            fortnight.run("nightly", **given, model=str(world.model))
            assert ended() is None
        assert list(home.rglob(".writing-*")) == []
        plain = fortnight.folder / "undisturbed"
        annotate_sources([source], plain, model=world.model, mesh=world.mesh, device="cpu")
        assert tables(home) == tables(plain)
    evaluated = wait_for(ended, what="the evaluation ends")
    assert evaluated["state_type"] == "COMPLETED", evaluated["state"]["message"]
    fortnight.tables_are_right()
    note("no model, a full disk, both fixed by the next night, during an evaluation")


def test_day_6_a_correction_starts_a_retraining_whose_model_is_refused(
    fortnight: Fortnight, given: dict[str, Any], note: Callable[[str], None]
) -> None:
    folder = fortnight.folder / "gold"
    bad = {"config": str(folder / "bad.toml"), "encoder": "recipe"}
    gold = [f"tiny/dev={folder / 'corpus.parquet'}"]
    fortnight.installation.configure("retrain", **given, **bad, gold=gold)
    fortnight.issue(issue_of(21, range(21000, 21003), deleted=(20001,)))
    fortnight.home.corrections.mkdir()
    (fortnight.home.corrections / "mine.pubtator").write_text(CORRECTED)
    fortnight.night()
    refused = fortnight.installation.triggered("e2emern corrections")
    assert refused["state_type"] == "COMPLETED", refused["state"]["message"]
    assert champion(fortnight.home) == fortnight.model
    judged = "SELECT reason FROM checks WHERE name = 'document F1' AND NOT passed AND champion_version = '{}'"
    ((reason,),) = rows(fortnight.home.root, judged.format(fortnight.model))
    assert re.fullmatch(r"document F1: \S+ -> \S+, possibly worse by \S+, margin 1.0", str(reason))
    (event,) = [one for one in fortnight.installation.events("e2emern.refused") if one["payload"]["what"] == "model"]
    assert event["payload"]["reason"].startswith(f"{reason}; ")
    fortnight.tables_are_right()
    note("a correction has a model trained, which is refused")


@needs_chromium
def test_day_6_the_pages_of_the_server_show_it(fortnight: Fortnight) -> None:
    """Show dashboard, last night with its artifacts, and refused challenger; screenshots are in build/prefect."""
    site, runs = fortnight.installation.url.removesuffix("/api"), f"runs/flow-run/{fortnight.last_night['id']}"
    retrained = fortnight.artifact("evaluation-home")["flow_run_id"]
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(SLOW_MS)
        page.goto(site)
        page.get_by_role("textbox").fill(fortnight.installation.auth_string)
        page.keyboard.press("Enter")
        page.get_by_text("Active Work Pools").wait_for()
        page.goto(f"{site}/dashboard")  # again, without the message that asked for the password
        look(page, "dashboard", "Active Work Pools", "e2emern", "nightly")
        page.goto(f"{site}/{runs}")
        page.get_by_role("listitem").filter(has_text="Artifacts").click()
        look(page, "night", fortnight.last_night["name"], "drift-home", "night-home")
        page.get_by_text("night-home").first.click()
        fetched = "Dump files: 20 unchanged, 1 fetched."
        look(page, "artifact-of-a-night", fetched, "pubmed30n0021.xml.gz", fortnight.last_night["name"])
        page.goto(f"{site}/runs/flow-run/{retrained}")
        page.get_by_role("listitem").filter(has_text="Artifacts").click()
        page.get_by_text("evaluation-home").first.click()
        look(page, "refused", f"is refused against {fortnight.model}", "retrain 20", "document F1: 100.0")


def test_day_7_a_model_that_passes_is_promoted_and_annotates_everything_again(
    fortnight: Fortnight, given: dict[str, Any], note: Callable[[str], None]
) -> None:
    installation, home, before = fortnight.installation, fortnight.home, fortnight.model
    good = {"config": str(fortnight.folder / "gold" / "good.toml"), "encoder": str(fortnight.world.model)}
    installation.configure("retrain", **given, **good, backfill=True)
    retrained = fortnight.run("retrain")
    better = champion(home)
    assert better not in (None, before)
    curve = fortnight.artifact("training-home", run=retrained["id"])
    assert curve["description"] == "6 of 6 epochs trained, 0.0 s left"
    assert [row["epoch"] for row in json.loads(curve["data"]) if row["dev F1"]] == [*range(6)]
    (event,) = installation.events("e2emern.promoted")
    assert event["payload"] == {"champion": better, "left": before}

    backfilled = installation.triggered("e2emern promoted")
    assert backfilled["state_type"] == "COMPLETED", backfilled["state"]["message"]
    batches = installation.post("flow_runs/filter", {"work_pool_queues": {"name": {"any_": ["backfill"]}}})
    assert {one["name"][:25] for one in batches} == {"annotate pubmed30n0001.xm"}
    for batch in batches:
        assert installation.end_of(batch["id"])["state_type"] == "COMPLETED"  # a backfill waits for its files
    assert installation.queues()[-1] == ("backfill", 4)  # a night takes precedence over it
    assert rows(home.root, "SELECT model_version FROM snapshot") == [(better,)]
    plain = fortnight.folder / "better"
    models = home.root / "models" / str(better)
    annotate_sources([home.dumps], plain, model=models, mesh=fortnight.world.mesh, device="cpu")
    assert tables(home.root) == tables(plain)
    assert installation.check() == (0, {})
    note("a better one is promoted and annotates all again")


def test_day_9_the_promotion_is_rolled_back_and_an_upgrade_brings_another_model(
    fortnight: Fortnight, note: Callable[[str], None]
) -> None:
    better = champion(fortnight.home)
    said = fortnight.command("models", "rollback")
    assert said == f"{fortnight.model} is the champion in place of {better}\n"
    make_worlds(fortnight.folder / "upgrade", fortnight.world)
    folder = fortnight.folder / "upgrade" / "world" / "new"
    fortnight.command("models", "add", folder)
    fortnight.model = model_version(folder)
    fortnight.run("backfill", model=fortnight.model)
    fortnight.tables_are_right()
    note("a rollback, and the upgrade of the model")


def test_day_11_a_new_mesh_is_linked_then_prune_and_the_doctor_clean_up(
    fortnight: Fortnight, note: Callable[[str], None]
) -> None:
    """A concept is merged into a new one, another is renamed; the next night uses the new version."""
    write_tables(fortnight.folder / "mesh", next_mesh(fortnight.world.mesh))
    fortnight.run("refresh-mesh", sources=[str(fortnight.folder / "mesh")], version="next")
    fortnight.mesh = "next"
    fortnight.installation.configure("nightly")
    left = fortnight.home.root / "documents" / ".writing-left"
    left.touch()
    before = numbers(fortnight.home)
    fortnight.run("prune")
    assert numbers(fortnight.home) == before[-5:] != before
    shown = fortnight.artifact("prune-home")
    assert shown["description"].startswith(f"deleted snapshots: {before[0]}")
    pruned = {row["kind"]: row["deleted"] for row in json.loads(shown["data"])}
    assert list(pruned) == ["snapshots", "models", "unpublished mentions", "retrainings", "dumps"]
    assert pruned["snapshots"].startswith(f"{before[0]}")
    fortnight.run("doctor", repair=True)
    assert not left.exists()
    assert '"leftover"' in fortnight.artifact("doctor-home")["data"]
    fortnight.tables_are_right()
    note("a new MeSH, prune, the doctor")


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync (Debian: apt install rsync)")
def test_day_13_the_disk_is_lost_and_the_backup_restored(
    fortnight: Fortnight, monkeypatch: pytest.MonkeyPatch, note: Callable[[str], None]
) -> None:
    """The next night fetches the dump files again, and a new one."""
    monkeypatch.chdir(fortnight.folder)
    (fortnight.folder / "backup" / "home").mkdir(parents=True)

    def call(line: str) -> None:
        if line.startswith("rsync "):
            line = line.replace(" /backup/", f" {fortnight.folder}/backup/")
            subprocess.run(["bash", "-euc", line], check=True)
        else:
            done = run(*shlex.split(line)[1:])
            assert done.returncode == 0, done.stderr

    for line in block("operations", "rsync --archive --ignore-missing-args"):
        call(line)
    fortnight.home.root.rename(fortnight.folder / "lost")
    for line in block("operations", "rsync --archive /backup/home/"):
        call(line)
    fortnight.tables_are_right()
    fortnight.issue(issue_of(22, range(22000, 22003), deleted=(21001,)))
    fortnight.night()
    fortnight.tables_are_right()
    assert examine(fortnight.home) == []
    note("a restored backup")


def look(page: Page, name: str, *texts: str) -> None:
    """Wait until a page shows some texts, and keep a screenshot of it."""
    for text in texts:
        page.get_by_text(text).first.wait_for()
    page.wait_for_load_state("networkidle")
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", animations="disabled")
