"""A run over several sources, without Prefect: its tables, its progress and its errors."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import random
import re
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from lxml import etree

from e2emern.flows.annotate import IncompleteError, Outcome, annotate_sources
from e2emern.model.document import Document
from e2emern.tasks.errors import InputError
from e2emern.tasks.parsers import parse
from e2emern.tasks.sources import find_sources
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.sources.history import read_history
from tests.flows.world import World, articles, finished_files, pubmed, rows, tables, write_sources

KILLS = 12
HOMES = 3


def annotate(world: World, home: Path, *inputs: Path, **options: object) -> Outcome:
    return annotate_sources(inputs, home, model=world.model, mesh=world.mesh, device="cpu", **options)  # type: ignore[arg-type]


def test_from_files_to_answers(world: World, tmp_path: Path) -> None:
    write_sources(tmp_path / "in")
    outcome = annotate(world, tmp_path / "home", tmp_path / "in")
    counts = [(one.summary.key.name, one.summary.counts.parsed, one.mentions) for one in outcome.annotated]
    assert counts == [("notes.pubtator", 2, 4), ("pubmed30n0001.xml", 11, 36), ("pubmed30n0002.xml.gz", 8, 33)]
    assert list(outcome.report.seconds) == [
        "parse",
        "write",
        "carry",
        "split",
        "low",
        "candidates",
        "mid",
        "high",
        "features",
        "resolve",
    ]
    under_neoplasms = """
        SELECT DISTINCT mesh_id, mesh_name FROM mentions JOIN entity_tree USING (mesh_id)
        WHERE ancestor_id = 'D009369' ORDER BY ALL
    """
    assert rows(tmp_path / "home", under_neoplasms) == [("D001", "Breast Neoplasms"), ("D002", "Colonic Neoplasms")]
    assert rows(tmp_path / "home", "SELECT source, reason FROM failures ORDER BY ALL") == [
        ("pubmed30n0001.xml", "no PMID"),
    ]
    assert rows(tmp_path / "home", "SELECT source, document_id, kind, reason FROM invalid_annotations") == [
        ("notes.pubtator", "201", "other words at its offsets", "found 'The p' at 0-5, expected 'never'"),
    ]
    assert rows(tmp_path / "home", "SELECT document_id, reason FROM superseded ORDER BY ALL")[:2] == [
        ("101", "deleted"),
        ("105", "revised"),
    ]


def test_a_second_run_does_nothing(world: World, tmp_path: Path) -> None:
    write_sources(tmp_path / "in")
    first = annotate(world, tmp_path / "home", tmp_path / "in")
    before = finished_files(tmp_path / "home")
    again = annotate(world, tmp_path / "home", tmp_path / "in")
    assert (len(again.annotated), [source.key for source in again.unchanged]) == (
        0,
        [one.summary.key for one in first.annotated],
    )
    assert again.snapshot
    assert again.snapshot.unchanged
    assert finished_files(tmp_path / "home") == before
    runs = read_history(Home(tmp_path / "home")).runs
    outcomes = [[source.outcome for source in run.sources] for run in runs]
    assert (outcomes, [run.unchanged for run in runs]) == ([["annotated"] * 3, []], [0, 3])


def test_reused_mentions_are_counted(world: World, tmp_path: Path) -> None:
    first, second = tmp_path / "pubmed30n0001.xml", tmp_path / "pubmed30n0002.xml"
    first.write_text(pubmed(articles(5, first=100)))
    second.write_text(pubmed([*articles(3, first=100), (7, "Headache.", "")]))
    assert annotate(world, tmp_path / "home", first, second).carried == 3
    assert rows(tmp_path / "home", "SELECT source, annotated, carried FROM sources ORDER BY ALL") == [
        ("pubmed30n0001.xml", 5, 0),
        ("pubmed30n0002.xml", 4, 3),
    ]
    assert read_history(Home(tmp_path / "home")).runs[-1].stages["carried"] == 3
    again = rows(tmp_path / "home", "SELECT pmid, count(*) FROM mentions WHERE source = 'pubmed30n0001.xml' GROUP BY 1")
    assert sorted(pmid for pmid, _ in again) == [103, 104]


def test_damaged_sources_do_not_stop_the_others(world: World, tmp_path: Path) -> None:
    good = tmp_path / "good.xml"
    good.write_text(pubmed(articles(3, first=100)))
    cut = tmp_path / "cut.xml.gz"
    whole = gzip.compress(pubmed([(n, f"{random.Random(n).random()}", "x") for n in range(3000)]).encode())
    cut.write_bytes(whole[: len(whole) // 2])
    empty, other = tmp_path / "empty.xml", tmp_path / "page.html"
    empty.write_bytes(b"")
    other.write_text("<html></html>")
    for _ in range(2):
        with pytest.raises(IncompleteError) as raised:
            annotate(world, tmp_path / "home", cut, empty, other, good)
        lines = str(raised.value).splitlines()
        assert [line.split(":")[0] for line in lines] == ["cut.xml.gz", "empty.xml", "page.html"]
        assert lines[0].startswith("cut.xml.gz: damaged: gzip damaged after ")
    parsed = dict(rows(tmp_path / "home", "SELECT source, documents FROM sources"))
    assert parsed["good.xml"] == 3
    assert 0 < int(str(parsed["cut.xml.gz"])) < 3000
    last = read_history(Home(tmp_path / "home")).runs[-1]
    assert [(source.name, source.outcome) for source in last.sources] == [
        ("empty.xml", "failed"),
        ("page.html", "failed"),
    ]
    assert last.unchanged == 2


def test_unreadable_files_of_a_folder_are_problems_and_the_rest_is_annotated(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.xml").write_text(pubmed(articles(3, first=100)))
    (folder / "gone.xml").symlink_to(tmp_path / "none")
    os.mkfifo(folder / "pipe.xml")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.xml")).write_text(pubmed(articles(1, first=200)))
    with pytest.raises(IncompleteError) as raised:
        annotate(world, tmp_path / "home", folder)
    assert str(raised.value).splitlines() == [
        f"{folder}/caf\\xe9.xml: its name is not UTF-8; rename it",
        f"{folder}/gone.xml: a broken link",
        f"{folder}/pipe.xml: not a regular file but a pipe, socket or device",
    ]
    assert rows(tmp_path / "home", "SELECT source, documents FROM sources") == [("good.xml", 3)]


def test_nothing_usable_publishes_nothing(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_bytes(b"")
    with pytest.raises(IncompleteError, match=r"^empty.xml: the file is empty"):
        annotate(world, tmp_path / "home", tmp_path / "empty.xml")
    with pytest.raises(WarehouseError, match="has no snapshot yet"):
        rows(tmp_path / "home", "FROM documents")


def test_progress_counts_the_word_pieces_of_the_bank_and_then_the_documents_of_all_sources(
    world: World, tmp_path: Path
) -> None:
    steps: list[tuple[str, int, int | None]] = []
    annotate(world, tmp_path / "home", *write_sources(tmp_path / "in"), progress=lambda *step: steps.append(step))
    stages = {what: [step[1:] for step in steps if step[0] == what] for what, _, _ in steps}
    assert list(stages) == ["word pieces", "documents"]
    assert stages["word pieces"][-1] == (82, 82)
    assert stages["documents"][0] == (0, 20)  # at once: the time of the first ones counts in the rate
    assert stages["documents"][-1] == (19, 20)  # the total counts the bad record too
    assert stages["documents"] == sorted(stages["documents"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "none"}, "none: no such model folder or version in the home (setting model, or --model)"),
        ({"model": "."}, ".: no config.json; expected a model folder"),
        ({"mesh": "none.parquet"}, "none.parquet: cannot be read as an entities table"),
        ({"device": "tpu"}, "unknown device 'tpu': expected one of auto, cpu, cuda"),
        ({"inputs": ["none.xml"]}, "none.xml: no such file or folder"),
        ({"home": Path("a file")}, "a file: cannot be used as a home (File exists); give a folder"),
    ],
)
def test_wrong_arguments_are_reported_before_anything_is_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a file").touch()
    Path("one.xml").write_text(pubmed(articles(1, first=100)))
    options: dict[str, object] = {"inputs": ["one.xml"], "home": Path("home"), "model": world.model, "mesh": world.mesh}
    options |= {name: Path(str(value)) if name in ("model", "mesh") else value for name, value in change.items()}
    with pytest.raises(InputError) as raised:
        annotate_sources(**options)  # type: ignore[arg-type]
    assert str(raised.value).startswith(message)
    assert not Path("home").exists()


def test_another_vocabulary_of_the_same_version_is_refused(world: World, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_sources(tmp_path / "in")
    annotate(world, tmp_path / "home", tmp_path / "in")
    other = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(world.mesh).slice(1), other)
    with pytest.raises(InputError, match="has a different vocabulary of version tiny"):
        annotate(World(world.model, other), tmp_path / "home", tmp_path / "in")


def test_killed_at_any_moment_the_tables_end_the_same(world: World, tmp_path: Path) -> None:
    """SIGKILL at 12 moments, four in each of three homes, spread over loading, annotating, writing and publishing."""
    inputs = write_sources(tmp_path / "in")
    for number in range(3, 8):
        inputs.append(tmp_path / "in" / f"pubmed30n{number:04}.xml")
        inputs[-1].write_text(pubmed(articles(20, first=100 + 10 * number), deleted=[100 + number], bad=number % 2))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["e2emern.flows.annotate", "e2emern.model.inference.cascade"])

    def started(home: Path) -> ForkServerProcess:
        options = {"model": world.model, "mesh": world.mesh, "device": "cpu"}
        process = processes.Process(target=annotate_sources, args=(inputs, home), kwargs=options)
        process.start()
        return process

    started(tmp_path / "warm").join()  # imports are done once
    begun = time.monotonic()
    undisturbed = started(tmp_path / "undisturbed")
    undisturbed.join()
    whole = time.monotonic() - begun
    assert undisturbed.exitcode == 0

    moments = random.Random(20)
    killed = 0
    done = set()
    for number in range(HOMES):
        home = tmp_path / f"killed-{number}"
        for quarter in range(KILLS // HOMES):
            process = started(home)
            # finished work is kept, so less of the run is left after each kill
            process.join(whole * (quarter + moments.random()) / (KILLS // HOMES + 1))
            process.kill()
            process.join()
            killed += process.exitcode == -9
            done.add(len(list(home.glob("mentions/*/[!.]*.parquet"))))
        completed = started(home)
        completed.join()
        assert completed.exitcode == 0
        assert tables(home) == tables(tmp_path / "undisturbed")
        assert set(finished_files(home)) == set(finished_files(tmp_path / "undisturbed"))
        assert list(home.rglob(".writing-*")) == []
    assert killed >= KILLS // 2
    assert len(done) >= 3  # the kills met different states


def records_of(path: Path) -> int:
    """The records of a dump, counted without our parsers."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        content = file.read()
    if content.lstrip().startswith((b"{", b"[")):
        return len(re.findall(rb'"passages"\s*:', content))
    if not content.lstrip().startswith(b"<"):
        return len(re.findall(rb"^[^|\s]+\|t\|", content, re.MULTILINE))
    root = etree.fromstring(content, etree.XMLParser(huge_tree=True))
    return len(root.xpath("//PubmedArticle | //PubmedBookArticle | //DeleteCitation/PMID | /collection/document"))


def test_every_file_of_the_dumps(world: World, shared_data: Path, tmp_path: Path) -> None:
    sources = find_sources([shared_data / "dumps"])
    assert len(sources) == 23
    outcome = annotate(world, tmp_path / "home", shared_data / "dumps")
    assert outcome.problems == []
    parsed = {one.summary.key.name: one.summary.counts.parsed for one in outcome.annotated}
    assert parsed == {source.key.name: records_of(source.path) for source in sources}

    texts: dict[tuple[str, int], str] = {}
    for source in sources:
        for record in parse(source.path):
            if isinstance(record, Document):
                texts[source.key.name, record.record] = record.text
    mentions = rows(tmp_path / "home", 'SELECT source, record, start, "end", text FROM mentions')
    assert len(mentions) > 1000
    assert all(texts[str(s), int(str(r))][start:end] == text for s, r, start, end, text in mentions)  # type: ignore[misc]
