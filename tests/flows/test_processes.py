"""Several processes that run the model: the same tables as with one, whichever process is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

import e2emern
from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import app
from e2emern.tasks.chunks import LostProcessError
from e2emern.tasks.processes import count_processes
from tests.flows.world import World, articles, finished_files, pubmed, tables, write_sources


def annotate(world: World, home: Path, inputs: Path, **options: object) -> None:
    annotate_sources([inputs], home, model=world.model, mesh=world.mesh, device="cpu", **options)  # type: ignore[arg-type]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Three small sources, and one of three chunks."""
    write_sources(tmp_path / "in")
    many = [(9000 + number, title, abstract) for number, (_, title, abstract) in enumerate(articles(100, first=0) * 6)]
    (tmp_path / "in" / "pubmed30n0003.xml").write_text(pubmed(many))
    return tmp_path / "in"


def test_the_files_equal_those_of_one_process(world: World, inputs: Path, tmp_path: Path) -> None:
    """One process is killed first: the run fails with one line, and the next one completes."""

    def kill_one(what: str, done: int, total: int | None) -> None:
        if done and (children := multiprocessing.active_children()):
            children[0].kill()

    with pytest.raises(
        LostProcessError, match=r"^one of 2 annotating processes was killed, perhaps for lack of memory"
    ):
        annotate(world, tmp_path / "two", inputs, processes=2, progress=kill_one)
    annotate(world, tmp_path / "two", inputs, processes=2)
    annotate(world, tmp_path / "one", inputs)
    assert tables(tmp_path / "two") == tables(tmp_path / "one")
    assert finished_files(tmp_path / "two") == finished_files(tmp_path / "one")
    assert multiprocessing.active_children() == []


def test_texts_in_python_are_those_of_one_process(world: World) -> None:
    texts = [f"{title} {abstract}" for _, title, abstract in articles(6, first=0)]
    one = e2emern.load(model=world.model, mesh=world.mesh, device="cpu")
    two = e2emern.load(model=world.model, mesh=world.mesh, device="cpu", processes=2)
    found = list(two.pipe(iter(texts), batch_size=2))
    assert [doc.mentions for doc in found] == [doc.mentions for doc in one.pipe(texts, batch_size=2)]
    assert sum(len(doc.mentions) for doc in found) > 0
    assert [each.mesh_id for each in two(texts[0]).mentions] == [each.mesh_id for each in found[0].mentions]


def test_auto_is_one_per_core_as_far_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2emern.tasks.processes.cores", lambda: 8)
    for available, number in ((100e9, 8), (5.5e9, 3), (1e9, 1), (None, 8)):
        monkeypatch.setattr("e2emern.tasks.processes.available_memory", partial(lambda found: found, available))
        assert count_processes("auto", device="cpu") == number
    assert count_processes("auto", device="cuda") == 1
    assert count_processes(3, device="cpu") == 3


@pytest.mark.parametrize("given", ["0", "257", "-1", "two", "1.5", ""])
def test_an_invalid_number_of_processes(given: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["annotate", "x.xml", "--home", str(tmp_path / "home"), "--processes", given])
    assert (result.exit_code, f"found {given!r}, expected auto or 1 to 256" in result.stderr) == (2, True)


def test_they_end_when_their_parent_is_killed(world: World, inputs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "e2emern.flows.cli", "annotate", str(inputs), "--home", str(tmp_path / "home")]
    command += ["--model", str(world.model), "--mesh", str(world.mesh), "--device", "cpu", "--processes", "2"]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    while parent.poll() is None and len(children) < 2:
        with suppress(psutil.Error):  # a child that is gone
            found = psutil.Process(parent.pid).children()
            children = [child for child in found if "spawn_main" in " ".join(child.cmdline())]
        time.sleep(0.05)
    assert len(children) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=120)
    assert alive == []
