"""`e2emern snapshots ...` as a user sees it, with one-line errors."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from e2emern.flows.cli import main
from e2emern.warehouse.layout import Home
from e2emern.warehouse.login import login
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.refs import rollbacks
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    add_vocabulary(home)
    for number in (1, 2):
        source = key(f"pubmed21n000{number}.xml", str(number))
        add_source(home, source, [document(0, str(number), text=f"Title {number}")])
        add_run(home, source)
        publish(home, VERSIONS, operation="annotate" if number == 1 else "publish")
    return home


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """Run a command on the home; return exit code, standard output and standard error."""

    def run_it(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["e2emern", "snapshots", *words, "--home", str(home.root)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, error = capsys.readouterr()
        return int(ended.value.code or 0), out, error

    return run_it


def test_list_rollback_publish(home: Home, run: object) -> None:
    assert callable(run)
    code, out, _ = run("list")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("    2 current   ")
    assert lines[1].endswith(" annotate: 1 source, 1 document, 1 mention of 1 concept, model small-1, MeSH 2024")
    code, out, error = run("rollback", "--why", "cut short")
    assert (code, out) == (0, "snapshot 1 is current in place of 2\n")
    assert "e2emern snapshots publish --accept WHY" in error
    (gone,) = rollbacks(home)
    said = f"{gone.when[:16].replace('T', ' ')} {login()} went from snapshot 2 to 1: cut short"
    assert run("list")[1].splitlines()[-1] == said
    code, out, error = run("publish")
    assert (code, out) == (1, "")
    assert error.startswith(f"e2emern: {login()} went back from snapshot 2 to 1 (cut short), and publishing would ")
    assert error.count("\n") == 1
    code, out, error = run("publish", "--accept", " ")
    assert (code, error.splitlines()[-1]) == (2, "Error: Invalid value for '--accept': the value is empty")
    code, out, _ = run("publish", "--accept", "it was right")
    assert (code, out) == (0, "snapshot 3 is published: 2 documents, 2 mentions\n")
    assert f"      accepted by {login()}: it was right" in run("list")[1].splitlines()
    assert run("publish")[1] == "snapshot 3 already shows everything that is annotated: 2 documents, 2 mentions\n"


def test_diff(run: object) -> None:
    assert callable(run)
    assert run("diff", "1", "2") == (
        0,
        "operation: annotate -> publish\n"
        "documents: 1 -> 2: 1 gained, 0 lost, 0 changed\n"
        "  gained 2 Title 2\n"
        "concepts: 1 -> 1: 0 gained, 0 lost, 1 changed\n"
        "  changed D001943 : 1 -> 2 mentions\n"
        "mentions: 1 -> 2, linked 1 -> 2\n",
        "",
    )
    code, out, error = run("diff", "1", "7")
    assert (code, out) == (1, "")
    assert error.endswith("has no snapshot 7; found 1, 2\n")


def test_prune_and_relocate(home: Home, run: object) -> None:
    assert callable(run)
    assert run("prune", "--keep", "1") == (
        0,
        "deleted 0 snapshots and 0 files of 0.0 MB; kept 1, 2\n",
        "e2emern: 1 open or current a moment ago; the next prune deletes them\n",
    )
    two_hours_ago = time.time() - 7200
    os.utime(home.snapshot(1), (two_hours_ago, two_hours_ago))
    assert run("prune", "--keep", "1", "--grace", "3")[1].endswith("kept 1, 2\n")
    assert run("prune", "--keep", "1", "--grace", "1")[1].startswith("deleted 1 snapshot and 0 files ")
    assert run("prune", "--keep", "0")[0] == 2
    assert run("relocate") == (0, f"all snapshots already read {home.root}\n", "")


def test_a_long_title_is_cut_with_an_ellipsis(home: Home, run: object) -> None:
    assert callable(run)
    source = key("pubmed21n0003.xml", "3")
    add_source(home, source, [document(0, "3", text="x" * 81), document(1, "4", text="y" * 80)])
    publish(home, VERSIONS)
    lines = run("diff", "2", "3")[1].splitlines()
    assert f"  gained 3 {'x' * 79}…" in lines
    assert f"  gained 4 {'y' * 80}" in lines
