"""Another model annotates the documents of a home, even if it is stopped at any moment."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.backfill import Backfilled, backfill, backfill_on_pool
from e2emern.flows.cli import app
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.refs import relocate
from tests.flows.world import World, by_one_worker, pubmed, rows
from tests.pages import arguments

SPANS = 'SELECT document_id, start, "end", text, mesh_id FROM mentions ORDER BY ALL'
DATED = (
    "<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><Journal><JournalIssue><PubDate>{date}</PubDate>"
    "</JournalIssue><Title>{journal}</Title></Journal><ArticleTitle>Aspirin caused renal failure and headache."
    "</ArticleTitle></Article></MedlineCitation></PubmedArticle>"
)
DOCUMENTS = [
    (1, "<Year>2019</Year>", "Lancet"),
    (2, "<Year>2020</Year><Month>Mar</Month><Day>2</Day>", "Lancet"),
    (3, "<Year>2020</Year>", "Nature"),
    (4, "<Year>2021</Year><Month>Jan</Month>", "Nature"),
]


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of two sources without their dumps, and next to it another model, `new`, that differs in its version."""
    folder = tmp_path_factory.mktemp("backfill")
    dumps = folder / "dumps"
    dumps.mkdir()
    dated = "".join(DATED.format(pmid=pmid, date=date, journal=journal) for pmid, date, journal in DOCUMENTS)
    (dumps / "pubmed30n0001.xml").write_text(f"<PubmedArticleSet>{dated}</PubmedArticleSet>")
    texts = [(5, "No patients with rash.", "The patients had severe breast cancer."), (1, "Headache.", "")]
    (dumps / "pubmed30n0002.xml").write_text(pubmed(texts, deleted=[3], bad=1))
    annotate_sources([dumps], folder / "home", model=world.model, mesh=world.mesh, device="cpu")
    shutil.rmtree(dumps)
    shutil.copytree(world.model, folder / "new")
    weights = load_file(folder / "new" / "model.safetensors")
    name = max(weights, key=lambda one: weights[one].numel())
    save_file(weights | {name: weights[name] * 1.01}, folder / "new" / "model.safetensors", {"format": "pt"})
    assert model_version(folder / "new") != model_version(world.model)
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "home", tmp_path / "home", symlinks=True)
    relocate(Home(tmp_path / "home"))
    return tmp_path / "home"


def run(made: Path, home: Path, **options: object) -> Backfilled:
    return backfill(home, model=made / "new", device="cpu", **options)  # type: ignore[arg-type]


def test_all_documents_without_a_dump(made: Path, home: Path) -> None:
    before = rows(home, SPANS)
    outcome = run(made, home)
    assert (outcome.documents, outcome.before, outcome.sources, outcome.waiting) == (6, 0, 2, 0)
    assert outcome.snapshot is None
    assert rows(home, "SELECT DISTINCT model_version FROM mentions") != [(outcome.versions.model,)]

    outcome = run(made, home, publishing=True)
    assert (outcome.documents, outcome.before) == (0, 6)
    assert rows(home, "SELECT number, operation, model_version FROM snapshot") == [
        (2, "backfill", outcome.versions.model)
    ]
    assert rows(home, "SELECT DISTINCT model_version FROM mentions") == [(outcome.versions.model,)]
    assert rows(home, SPANS) == before
    assert rows(home, "SELECT parsed, failed, deleted FROM sources ORDER BY rank") == [(4, 0, 0), (4, 1, 1)]


def test_the_deployment_publishes_when_all_is_done(
    world: World, made: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source fails at first; in the second run a night publishes another one meanwhile."""
    late = tmp_path / "late.pubtator"
    late.write_text("9|t|Headache after aspirin.\n9|a|\n")
    events: list[Callable[[], object]] = []

    def fails() -> None:
        raise InputError("the disk is full")

    def run_it() -> None:
        backfill_on_pool.fn(home=home, model=str(made / "new"))

    monkeypatch.setattr("e2emern.flows.backfill.annotate_on_pool", by_one_worker(events))
    events.append(fails)
    with pytest.raises(InputError, match=r"^pubmed30n000.\.xml: the disk is full$"):
        run_it()
    assert rows(home, "SELECT number FROM snapshot") == [(1,)]
    events.append(lambda: annotate_sources([late], home, model=world.model, mesh=world.mesh, device="cpu"))
    run_it()
    new = model_version(made / "new")
    assert rows(home, "SELECT number, operation, model_version, sources FROM snapshot") == [(3, "backfill", new, 3)]


def test_a_model_that_is_not_done_is_not_shown(made: Path, home: Path) -> None:
    next(home.glob("documents/pubmed30n0001*")).write_bytes(b"PAR1")
    with pytest.raises(WarehouseError, match=r"1 of 2 sources not done with model .*nothing was published"):
        run(made, home, publishing=True)
    assert rows(home, "SELECT number FROM snapshot") == [(1,)]


def test_an_unreadable_source_is_reported_and_does_not_stop_others(made: Path, home: Path) -> None:
    damaged = next(home.glob("documents/pubmed30n0001*"))
    damaged.write_bytes(b"PAR1")
    outcome = run(made, home)
    assert list(outcome.failed) == ["pubmed30n0001.xml"]
    assert (outcome.documents, outcome.waiting) == (2, 1)


def test_a_run_stopped_anywhere_resumes(made: Path, home: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["e2emern.flows.backfill", "e2emern.model.inference.cascade"])
    for chunks in range(2):  # reported before it is killed
        child = context.Process(target=_killed, args=(made, home, chunks))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    outcome = run(made, home, publishing=True)
    assert outcome.waiting == 0
    assert rows(home, SPANS) == rows(made / "home", SPANS)


def _killed(made: Path, home: Path, chunks: int) -> None:
    calls = count()

    def progress(what: str, done: int, total: int | None) -> None:
        if what == "documents" and next(calls) == chunks:
            os.kill(os.getpid(), signal.SIGKILL)

    run(made, home, progress=progress)


def test_command(made: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    (home / "models").mkdir(exist_ok=True)
    (home / "models" / "VERSION").symlink_to(made / "new")
    done = CliRunner().invoke(
        app, [*arguments("retention", "e2emern backfill --model home/models/VERSION --home home"), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert "6 documents annotated (0 reused) with 14 mentions, 0 done before; 2 of 2 sources" in done.output
    words = arguments("retention", "e2emern backfill --model home/models/VERSION --publish --home home")
    done = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert "Snapshot 2 of home: 8 mentions of" in done.output
