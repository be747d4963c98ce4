"""The life of a model in production: drift has another trained, the gate judges, what it replaced comes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from e2emern.warehouse.files import locked
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import champion
from e2emern.warehouse.sources.runs import RunRecord, write_run
from tests.e2e.installation import Installation, wait_for
from tests.flows.challengers import MARGINS, crown, make_challengers
from tests.flows.world import CONCEPTS, World, dump, rows

E2EMERN = str(Path(sys.executable).with_name("e2emern"))


@pytest.fixture(scope="module")
def home(installation: Installation, world: World) -> Home:
    """A home whose champion is poor, with seven nights that brought nothing."""
    home = Home(installation.folder / "tended")
    crown(home, make_challengers(installation.folder / "gold", world) / "poor")
    for day in range(1, 8):
        began = f"2026-01-{day:02}T02:30:00+00:00"
        write_run(home, RunRecord(run_id=f"2026010{day}T023000Z-1", started=began, finished=began, host="night"))
    return home


@pytest.fixture(scope="module")
def given(installation: Installation) -> dict[str, Any]:
    """What a retraining is given, whatever its recipe; its home is that of the event."""
    sample = str(installation.folder / "gold" / "sample.xml")
    return {"margins": asdict(MARGINS), "sample": sample}


def test_drift_has_a_model_trained_that_takes_over(
    installation: Installation, home: Home, given: dict[str, Any], world: World, note: Callable[[str], None]
) -> None:
    """After seven nights of nothing one of 20 documents is drift; the better model annotates them again."""
    poor, source = champion(home), installation.folder / "after-nothing"
    good = {"config": str(installation.folder / "gold" / "good.toml"), "encoder": str(world.model)}
    installation.configure("retrain", **given, **good, backfill=True)
    installation.enable("e2emern drift")
    source.mkdir()
    (source / "pubmed30n0001.xml.gz").write_bytes(dump(1))
    night = installation.run("nightly", home=str(home.root), sources=[str(source)], model=poor)
    assert night["state_type"] == "COMPLETED", night["state"]["message"]
    assert rows(home.root, "SELECT model_version FROM snapshot") == [(poor,)]

    retrained = installation.triggered("e2emern drift")
    assert retrained["state_type"] == "COMPLETED", retrained["state"]["message"]
    (drifted,) = installation.post("artifacts/latest/filter", {"artifacts": {"key": {"any_": ["drift-tended"]}}})
    assert drifted["description"].endswith("compared with 7 nights before: drifted in documents")
    better = champion(home)
    assert better != poor
    (curve,) = installation.post("artifacts/latest/filter", {"artifacts": {"key": {"any_": ["training-tended"]}}})
    assert curve["description"] == "6 of 6 epochs trained, 0.0 s left"
    assert [row["epoch"] for row in json.loads(curve["data"]) if row["dev F1"]] == [*range(6)]
    (event,) = installation.events("e2emern.promoted")
    assert event["payload"] == {"champion": better, "left": poor}

    backfilled = installation.triggered("e2emern promoted")
    assert backfilled["state_type"] == "COMPLETED", backfilled["state"]["message"]
    (batch,) = installation.post("flow_runs/filter", {"work_pool_queues": {"name": {"any_": ["backfill"]}}})
    assert batch["name"] == "annotate pubmed30n0001.xml.gz"
    assert installation.end_of(batch["id"])["state_type"] == "COMPLETED"  # its files are what a backfill waits for
    assert installation.queues()[-1] == ("backfill", 4)  # a night goes before it
    assert rows(home.root, "SELECT model_version, documents FROM snapshot") == [(better, 20)]
    assert rows(home.root, "SELECT count(*) > 20 FROM mentions WHERE mesh_id = 'D001'") == [(True,)]
    note("drift has a better model trained, promoted and annotate all again")


def test_a_worse_model_is_refused_and_the_better_one_taken_back(
    installation: Installation, home: Home, given: dict[str, Any], note: Callable[[str], None]
) -> None:
    better = champion(home)
    folder = installation.folder / "gold"
    worse = {
        "config": str(folder / "bad.toml"),
        "encoder": "recipe",
        "gold": [f"tiny/dev={folder / 'corpus.parquet'}"],
    }
    refused = installation.run("retrain", home=str(home.root), **given, **worse)
    assert refused["state_type"] == "COMPLETED", refused["state"]["message"]
    assert champion(home) == better
    judged = "SELECT reason FROM checks WHERE name = 'document F1' AND NOT passed AND champion_version = '{}'"
    ((reason,),) = rows(home.root, judged.format(better))
    assert re.fullmatch(r"document F1: \S+ -> \S+, and may be worse by \S+, margin 1.0", str(reason))
    (event,) = [one for one in installation.events("e2emern.refused") if one["payload"]["what"] == "model"]
    assert event["payload"]["reason"].startswith(f"{reason}; ")

    words = [E2EMERN, "models", "rollback", "--home", str(home.root)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said == f"{champion(home)} is the champion in place of {better}\n"
    note("a worse one refused, the promotion taken back")


def test_a_night_does_not_wait_for_an_evaluation(
    installation: Installation, home: Home, note: Callable[[str], None]
) -> None:
    """Cause: on one host, a batch of one record waited 14 minutes behind a retraining. The lock makes it wait."""
    gold = [f"tiny/dev={installation.folder / 'gold' / 'corpus.parquet'}"]
    with locked(home.lock):
        ended = installation.begin("evaluate", home=str(home.root), gold=gold)
        wait_for(lambda: installation.runs("evaluate", "RUNNING"), what="an evaluation runs")
        other = {"home": str(installation.folder / "other"), "sources": [str(installation.folder / "after-nothing")]}
        night = installation.run("nightly", **other)
        assert night["state_type"] == "COMPLETED", night["state"]["message"]
        assert ended() is None
    evaluated = wait_for(ended, what="the evaluation ends")
    assert evaluated["state_type"] == "COMPLETED", evaluated["state"]["message"]
    note("a night during an evaluation")


def test_the_doctor_repairs_and_a_new_mesh_takes_over(
    installation: Installation, home: Home, note: Callable[[str], None]
) -> None:
    """The new version has no headache; it is linked with the model of the tables, which is no longer the champion."""
    left = home.root / "documents" / ".writing-left"
    left.touch()
    examined = installation.run("doctor", home=str(home.root), repair=True)
    assert examined["state_type"] == "COMPLETED", examined["state"]["message"]
    assert not left.exists()
    (found,) = installation.post("artifacts/latest/filter", {"artifacts": {"key": {"any_": ["doctor-tended"]}}})
    assert '"leftover"' in found["data"]

    headaches = "SELECT count(*) > 0 FROM mentions WHERE mesh_id = 'D005'"
    assert rows(home.root, headaches) == [(True,)]
    tables = mesh_without_headache(installation.folder / "mesh")
    refreshed = installation.run("refresh-mesh", home=str(home.root), sources=[str(tables)], version="2027")
    assert refreshed["state_type"] == "COMPLETED", refreshed["state"]["message"]
    assert rows(home.root, "SELECT mesh_version, documents FROM snapshot") == [("2027", 20)]
    assert rows(home.root, headaches) == [(False,)]
    note("the doctor, a new MeSH")


def mesh_without_headache(folder: Path) -> Path:
    """Our compact tables of the vocabulary of these tests, but for one concept."""
    kept = [concept for concept in CONCEPTS if concept.mesh_id != "D005"]
    names = [(one.mesh_id, one.entity_type, str(int(name == one.name)), name) for one in kept for name in one.names]
    records = [(one.mesh_id, one.record_type, "|".join(one.tree_numbers), "|".join(one.mapped_to)) for one in kept]
    folder.mkdir()
    for table, columns, cells in (
        ("names", "mesh_id entity_type preferred name", names),
        ("records", "mesh_id record_type tree_numbers mapped_to", records),
        ("aliases", "alias mesh_id", []),
    ):
        lines = ["\t".join(row) for row in (columns.split(), *cells)]
        (folder / f"{table}.tsv").write_text("\n".join(lines) + "\n")
    return folder
