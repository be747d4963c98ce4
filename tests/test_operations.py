"""Every command on the pages for operators is run by a test, or listed as one that cannot be run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots import compaction
from tests.conftest import ROOT
from tests.flows.command import run
from tests.flows.world import rows
from tests.warehouse.homes import MODEL, add_run, add_source, add_vocabulary, document, key, mention, publish_it

PAGES = ("operations", "deployment", "retention")
ELSEWHERE = {  # commands that other tests run
    "make server": "tests/e2e/installation.py",
    "make deploy": "tests/e2e/installation.py",
    "make worker": "tests/e2e/installation.py",
    "make night": "tests/e2e/installation.py",
    "e2emern server": "tests/e2e/installation.py",  # what `make server` calls, and so on
    "e2emern deploy": "tests/e2e/installation.py",
    "e2emern worker": "tests/e2e/installation.py",
    "e2emern night": "tests/e2e/installation.py",
    "export PREFECT_API_URL=": "tests/e2e/installation.py",
    "export PREFECT_API_AUTH_STRING=": "tests/e2e/installation.py",
    "e2emern check": "tests/e2e/test_installation.py",
    "e2emern check --local --json": "tests/flows/test_check.py",
    "e2emern status --home home": "tests/flows/test_cli.py",
    "e2emern status --home home --json": "tests/flows/test_metrics.py",
    "e2emern metrics --home home": "tests/flows/test_metrics.py",
    "e2emern drift --home home": "tests/flows/test_metrics.py",
    "e2emern explore --home home --metrics-token": "tests/flows/explorer/test_security.py",
    "sudo -u postgres create": "tests/e2e/test_postgresql.py",
    "e2emern bench": "tests/tasks/test_host_speed.py",
    "make torch": "tests/test_deploy.py",
    "array=$(sbatch": "tests/test_slurm.py",
    "sbatch": "tests/test_slurm.py",
    "prefect work-pool create": "tests/flows/test_queues.py",
    "e2emern prune --home home": "tests/tasks/test_retention.py",
    "e2emern models add": "tests/flows/test_models_commands.py",
    "e2emern models judge": "tests/flows/test_models_commands.py",
    "e2emern backfill": "tests/flows/test_backfill.py",
}
NOT_RUN = {
    "sudo apt install postgresql": "changes the host",
    "docker build": "no Docker daemon here; tests/test_deploy.py reads the file",
    "docker run": "no Docker daemon here",
    "openssl rand": "makes a token; any text of 20 characters does",
}
HERE = ("rsync", "e2emern snapshots", "e2emern doctor")


def block(page: str, first: str) -> list[str]:
    """The commands of the block in which one begins with some words."""
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    found = [each.splitlines() for each in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)]
    (lines,) = [lines for lines in found if any(line.strip().startswith(first) for line in lines)]
    return [line.strip() for line in lines]


def test_every_command_is_run_by_a_test_or_listed_as_one_that_cannot_be() -> None:
    used: set[str] = set()
    for page in PAGES:
        text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
        for each in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
            for line in map(str.strip, each.splitlines()):
                known = [start for start in (*ELSEWHERE, *NOT_RUN, *HERE) if line.startswith(start)]
                assert known, f"docs/{page}.md: no test runs {line!r}"
                used.update(known)
    assert used == {*ELSEWHERE, *NOT_RUN, *HERE}
    for file in ELSEWHERE.values():
        assert (ROOT / file).is_file(), file


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
    lines = [line for line in block("retention", "e2emern snapshots diff") if "snapshots" in line]
    for number in range(3):
        add(home, number, model="new")
    said = [run(*shlex.split(line.replace("VERSION", "new").replace("41 42", "1 2"))[1:]) for line in lines]
    assert [done.returncode for done in said] == [0, 0, 1]
    assert said[0].stdout == "snapshot 2 is published, but not current: 3 documents, 3 mentions\n"
    assert said[1].stdout.splitlines()[1] == f"model {MODEL}, MeSH 2024 -> model new, MeSH 2024"
    assert "is the oldest of" in said[2].stderr  # nothing was switched yet
    assert run("snapshots", "publish", "--model", "new", "--home", home).returncode == 0
    assert rows(home.root, "SELECT model_version FROM snapshot") == [("new",)]
    assert run(*shlex.split(lines[2])[1:]).returncode == 0
    assert rows(home.root, "SELECT model_version FROM snapshot") == [(MODEL,)]
