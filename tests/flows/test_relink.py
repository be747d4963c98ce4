"""Stored mentions are linked to a new version of MeSH without a new search for mentions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.backfill import backfill
from e2emern.flows.relink import RelinkOutcome, relink
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.tasks.relink import Relinked, relink_source
from e2emern.warehouse.errors import OvertakenError, WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.registry.models import add_model
from e2emern.warehouse.snapshots.refs import relocate
from tests.flows.world import World, another, rows, write_sources

SPANS = 'SELECT source, document_id, start, "end", entity_type, mesh_id, mesh_name FROM mentions ORDER BY ALL'
FEVER = (
    "SELECT mesh_id, mesh_name, * EXCLUDE (mesh_id, mesh_name, mesh_version) FROM mentions WHERE document_id = '301'"
)
VERSIONS = "SELECT model_version, mesh_version FROM snapshot"
COUNTS = "SELECT source, rank, parsed, documents, annotated, without_text, failed, deleted, mentions FROM sources"


def next_year(mesh: Path) -> list[dict[str, object]]:
    """A version in which headache is retired, colon cancer merged into a new concept, and breast cancer renamed."""
    concepts = {row["mesh_id"]: row | {"mesh_version": "next"} for row in pq.read_table(mesh).to_pylist()}
    del concepts["D005"]
    merged = concepts.pop("D002")
    concepts["D100"] = merged | {
        "mesh_id": "D100",
        "name": "Colorectal Neoplasms",
        "names": ["Colorectal Neoplasms", *merged["names"]],
        "name_kinds": ["preferred", "entry", "entry"],
        "aliases": ["D002"],
    }
    breast = concepts["D001"]
    breast["name"] = "Breast Carcinoma"
    breast["names"] = ["Breast Carcinoma", *breast["names"]]
    breast["name_kinds"] = [*breast["name_kinds"], "entry"]
    return list(concepts.values())


@pytest.fixture(scope="module")
def annotated(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sources, and a home where they are linked to the version `tiny`, that has `next` too."""
    folder = tmp_path_factory.mktemp("relink")
    write_sources(folder / "in")
    (folder / "in" / "fever.pubtator").write_text(
        "301|t|Familial mediterranean fever after treated patients.\n301|a|\n"
    )
    annotate_sources([folder / "in"], folder / "home", model=world.model, mesh=world.mesh, device="cpu")
    write_entities(Home(folder / "home"), next_year(world.mesh), mesh_version="next")
    return folder


@pytest.fixture
def home(annotated: Path, tmp_path: Path) -> Path:
    """A copy of that home."""
    shutil.copytree(annotated / "home", tmp_path / "home", symlinks=True)
    relocate(Home(tmp_path / "home"))
    return tmp_path / "home"


def test_affected_mentions_are_relinked_and_the_others_reused(
    world: World, annotated: Path, home: Path, tmp_path: Path
) -> None:
    before, counts = rows(home, SPANS), rows(home, COUNTS)
    carried = rows(home, FEVER)
    assert [row[:2] for row in carried] == [("D003", "Familial Mediterranean Fever")]

    outcome = relink(home, mesh="next", model=world.model, device="cpu")

    assert (outcome.old, outcome.new, len(outcome.sources), outcome.before) == ("tiny", "next", 4, 0)
    assert rows(home, "SELECT number, operation, mesh_version FROM snapshot") == [(2, "relink", "next")]
    assert rows(home, COUNTS) == counts
    assert rows(home, FEVER) == carried
    found = rows(home, SPANS)
    assert [row[:5] for row in found] == [row[:5] for row in before]  # no span is lost and none is added
    named = {row[5]: row[6] for row in found}
    assert (named["D100"], named["D001"]) == ("Colorectal Neoplasms", "Breast Carcinoma")
    assert not {"D002", "D005"} & set(named)
    assert (outcome.total("documents"), outcome.total("unread")) == (14, 0)
    assert outcome.total("changed") == 19  # headache and colon cancer, in documents that are superseded too

    again = tmp_path / "again"
    table = home / "entities" / "next.parquet"
    annotate_sources([annotated / "in"], again, model=world.model, mesh=table, device="cpu")
    assert found == rows(again, SPANS)


def test_an_interrupted_run_resumes(world: World, home: Path) -> None:
    relink(home, mesh="next", model=world.model, device="cpu")
    whole = {path.name: path.read_bytes() for path in home.glob("mentions/*@next/*.parquet")}
    stopped = sorted(home.glob("mentions/*@next/*.parquet"))[1]
    stopped.unlink()
    (home / "warehouse.duckdb").unlink()
    (home / "warehouse.duckdb").symlink_to("snapshots/1.duckdb")
    outcome = relink(home, mesh="next", model=world.model, device="cpu")
    assert (len(outcome.sources), outcome.before) == (1, 3)
    assert {path.name: path.read_bytes() for path in home.glob("mentions/*@next/*.parquet")} == whole
    assert rows(home, "SELECT mesh_version FROM snapshot") == [("next",)]


def test_a_source_that_a_night_finishes_meanwhile_is_linked_too(
    world: World, annotated: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late.pubtator"
    late.write_text("302|t|Headache after aspirin.\n302|a|\n")
    sources = rows(home, "SELECT count(*) FROM sources")[0][0]
    linked: list[SourceKey] = []

    def meanwhile(key: SourceKey, **options: Any) -> Relinked:
        if not linked:
            annotate_sources([late], home, model=world.model, mesh=world.mesh, device="cpu")
        linked.append(key)
        return relink_source(key, **options)

    monkeypatch.setattr("e2emern.flows.relink.relink_source", meanwhile)
    relink(home, mesh="next", model=world.model, device="cpu")
    assert linked[-1].name == "late.pubtator"
    assert rows(home, "SELECT count(*), any_value(mesh_version) FROM sources, snapshot") == [(sources + 1, "next")]


def test_a_relink_does_not_undo_a_backfill_that_published_meanwhile(
    world: World, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: the last to publish changed the tables back to the model that it had started with."""
    new = another(world, tmp_path)
    linked: list[SourceKey] = []

    def meanwhile(key: SourceKey, **options: Any) -> Relinked:
        if not linked:
            backfill(home, model=new, device="cpu", publishing=True)
        linked.append(key)
        return relink_source(key, **options)

    monkeypatch.setattr("e2emern.flows.relink.relink_source", meanwhile)
    with pytest.raises(OvertakenError, match=f"^snapshot 2 of model {model_version(new)} and MeSH tiny is current now"):
        relink(home, mesh="next", model=world.model, device="cpu")
    assert rows(home, VERSIONS) == [(model_version(new), "tiny")]
    relink(home, mesh="next", model=new, device="cpu")
    assert rows(home, VERSIONS) == [(model_version(new), "next")]


def test_a_backfill_does_not_undo_a_relink_that_published_meanwhile(world: World, home: Path, tmp_path: Path) -> None:
    """Cause: as above; if the version of MeSH is named, the next run publishes the finished work."""
    new = another(world, tmp_path)
    relinked: list[RelinkOutcome] = []

    def at_first(what: str, done: int, total: int | None) -> None:
        if what == "documents" and not relinked:
            relinked.append(relink(home, mesh="next", model=world.model, device="cpu"))

    with pytest.raises(OvertakenError, match=r"^snapshot 2 of model .* and MeSH next is current now, "):
        backfill(home, model=new, device="cpu", publishing=True, progress=at_first)
    assert rows(home, VERSIONS) == [(model_version(world.model), "next")]
    assert backfill(home, model=new, mesh="tiny", device="cpu", publishing=True).documents == 0
    assert rows(home, VERSIONS) == [(model_version(new), "tiny")]


def test_a_version_that_affects_no_mention_needs_no_model(world: World, home: Path) -> None:
    same = [row | {"mesh_version": "same"} for row in pq.read_table(world.mesh).to_pylist()]
    write_entities(Home(home), same, mesh_version="same")
    before = rows(home, "SELECT * EXCLUDE mesh_version FROM mentions ORDER BY ALL")
    outcome = relink(home, mesh="same", model=world.model, device="cpu")
    assert (outcome.total("documents"), outcome.total("spans")) == (0, 0)
    assert rows(home, "SELECT * EXCLUDE mesh_version FROM mentions ORDER BY ALL") == before
    assert not (home / "banks").exists() or not list((home / "banks").glob("*@same*"))


def test_the_model_is_that_of_the_tables_whatever_the_champion(world: World, home: Path) -> None:
    add_model(Home(home), world.model, version=model_version(world.model))
    assert relink(home, mesh="next", device="cpu").snapshot.mesh_version == "next"


def test_a_run_stopped_after_its_last_step_is_complete(world: World, home: Path) -> None:
    outcome = relink(home, mesh="tiny", model=world.model, device="cpu")
    assert (outcome.sources, outcome.snapshot.number) == ({}, 1)
    assert rows(home, "SELECT number, operation, mesh_version FROM snapshot") == [(1, "annotate", "tiny")]


def test_refused(world: World, home: Path, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="has no vocabulary other, but next, tiny; import it first"):
        relink(home, mesh="other", model=world.model, device="cpu")
    with pytest.raises(
        InputError, match=r"is model .*, but the mentions of .* are of .*; give its folder with --model"
    ):
        relink(home, mesh="next", device="cpu")
    with pytest.raises(WarehouseError, match="has no snapshot yet"):
        relink(tmp_path / "none", mesh="next", model=world.model, device="cpu")
