"""Every command on the pages for operators is run by a test, or listed as one that cannot be run.

A test takes the command from the page (`tests.pages`), so a page cannot print what no test runs.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots import compaction
from tests.flows.command import run
from tests.flows.world import rows
from tests.pages import arguments, block, blocks, taken_by_tests
from tests.warehouse.homes import MODEL, add_run, add_source, add_vocabulary, document, key, mention, publish_it

PAGES = ("operations", "deployment", "retention")
NOT_RUN = {
    "sudo apt install": "changes the host",
    "docker build": "no Docker daemon here; tests/test_deploy.py reads the file",
    "docker run": "no Docker daemon here",
}


def test_every_command_is_run_by_a_test_or_listed_as_one_that_cannot_be() -> None:
    printed = [line for page in PAGES for lines in blocks(page) for line in lines]
    run_by_tests = {*taken_by_tests()}
    not_run = [line for line in printed if line not in run_by_tests]
    assert [line for line in not_run if not line.startswith((*NOT_RUN,))] == []
    assert {start for start in NOT_RUN if any(line.startswith(start) for line in not_run)} == {*NOT_RUN}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of three merged sources, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compaction, "LOOSE", 3)
    home = Home(tmp_path / "home")
    add_vocabulary(home)
    for number in range(3):
        add(home, number)
    publish_it(home)
    assert list((home.root / "compacted").rglob("*.parquet"))
    return home


def add(home: Home, number: int, *, model: str = MODEL) -> None:
    source = key(f"pubmed26n{number:04}.xml", str(number))
    add_source(home, source, [document(0, str(number))], mentions=[mention(0, str(number))], model=model)
    add_run(home, source)


def shown(home: Home) -> list[tuple[object, ...]]:
    every = "SELECT source, document_id, mesh_id FROM mentions JOIN documents USING (source, document_id) ORDER BY ALL"
    return rows(home.root, every)


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync (Debian: apt install rsync)")
def test_a_restored_backup_shows_what_was_published_last_before_it(home: Home, tmp_path: Path) -> None:
    backup = block("operations", "rsync --archive --ignore-missing-args")
    restore = block("operations", "rsync --archive /backup/home/")
    (tmp_path / "backup" / "home").mkdir(parents=True)

    def call(line: str) -> None:
        line = line.replace(" /backup/", f" {tmp_path}/backup/")
        if line.startswith("rsync "):
            subprocess.run(["bash", "-euc", line], check=True)
            return
        done = run(*shlex.split(line)[1:])
        assert done.returncode == 0, done.stderr

    for number in (3, 4):  # the second backup adds to the first
        for line in backup:
            call(line)
        add(home, number)
        publish_it(home)
    before = shown(home)
    home.root.rename(tmp_path / "lost")

    for line in restore:
        call(line)
    assert shown(home) == [row for row in before if row[0] != "pubmed26n0004.xml"]  # published after the last backup
    assert examine(home) == []
    add(home, 4)
    publish_it(home)
    assert shown(home) == before


def test_another_model_is_compared_shown_and_rolled_back(home: Home) -> None:
    """The commands of the page, but for `models` and `backfill`, which other tests run."""
    publish = arguments("retention", "e2emern snapshots publish --keep-current --model VERSION --home home")
    diff = arguments("retention", "e2emern snapshots diff 41 42 --home home")
    rollback = arguments("retention", "e2emern snapshots rollback --home home --why 'fewer chemicals'")
    instead = {"VERSION": "new", "41": "1", "42": "2"}
    for number in range(3):
        add(home, number, model="new")
    said = [run(*(instead.get(word, word) for word in words)) for words in (publish, diff, rollback)]
    assert [done.returncode for done in said] == [0, 0, 1]
    assert said[0].stdout == "snapshot 2 is published, but not current: 3 documents, 3 mentions\n"
    assert said[1].stdout.splitlines()[1] == f"model {MODEL}, MeSH 2024 -> model new, MeSH 2024"
    assert "is the oldest of" in said[2].stderr  # nothing was switched yet
    assert run("snapshots", "publish", "--model", "new", "--home", home).returncode == 0
    assert rows(home.root, "SELECT model_version FROM snapshot") == [("new",)]
    assert run(*rollback).returncode == 0
    assert rows(home.root, "SELECT model_version FROM snapshot") == [(MODEL,)]
