"""The command line as a user sees it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer

from e2emern.flows import cli
from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import app
from e2emern.flows.cli.parts import SECTIONS
from e2emern.tasks.errors import ProblemsError
from e2emern.tasks.parsers import parse
from tests.conftest import ROOT
from tests.flows.command import run
from tests.flows.world import World, articles, pubmed, rows, tables, write_sources
from tests.pages import arguments

COMMAND = [sys.executable, "-m", "e2emern.flows.cli"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user without a Prefect server, with a separate Prefect folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three sources, annotated without the command line."""
    folder = tmp_path_factory.mktemp("cli")
    write_sources(folder / "in")
    annotate_sources([folder / "in"], folder / "home", model=world.model, mesh=world.mesh, device="cpu")
    return folder / "home"


def annotate(world: World, home: Path, *inputs: Path) -> list[object]:
    return ["annotate", *inputs, "--home", home, "--model", world.model, "--mesh", world.mesh, "--device", "cpu"]


def test_killed_and_restarted_and_with_a_damaged_file(
    world: World, tmp_path: Path, environment: dict[str, str]
) -> None:
    inputs = write_sources(tmp_path / "in")
    home = tmp_path / "home"

    arguments = [*COMMAND, *map(str, annotate(world, home, *inputs))]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        while killed.poll() is None and not list(home.glob("runs/*.json")):
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL

    done = run(*annotate(world, home, *inputs))
    example = (
        "e2emern: 1 invalid annotation: 1 other words at its offsets\n"
        "e2emern: for example, notes.pubtator: line 4: document 201: found 'The p' at 0-5, expected 'never'\n"
    )
    assert done.returncode == 0
    assert done.stderr in (example, "")  # nothing if the killed run had annotated that source
    assert "73 mentions of 7 concepts" in done.stdout or "were annotated before" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("14 documents, 50 mentions of 7 concepts")
    annotate_sources(inputs, tmp_path / "plain", model=world.model, mesh=world.mesh, device="cpu")
    assert tables(home) == tables(tmp_path / "plain")

    empty, fourth = tmp_path / "empty.xml", tmp_path / "fourth.xml"
    empty.touch()
    fourth.write_text(pubmed(articles(2, first=500)))
    partly = run(*annotate(world, home, empty, fourth, *inputs))
    assert (partly.returncode, partly.stderr) == (
        1,
        "e2emern: empty.xml: the file is empty; expected PubMed XML or MEDLINE text, PubTator, BioC, JSON lines, a "
        "table with column names, or a text named .txt or .md; plain, compressed, or in a zip or tar archive\n",
    )
    assert "3 sources were annotated before" in partly.stdout
    assert rows(home, "SELECT count(*) FROM documents") == [(16,)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["annotate", "none.xml", "--home", "h"], "none.xml: no such file or folder"),
        (
            ["annotate", "x", "--home", "h", "--model", "none"],
            "none: no such model folder or version in the home (setting model, or --model)",
        ),
    ],
)
def test_errors_before_the_first_record_are_one_line(world: World, arguments: list[str], message: str) -> None:
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(world.model), "--mesh", str(world.mesh)]
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"e2emern: {message}\n")


def test_stopped_by_the_user(world: World, tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = [*COMMAND, *map(str, annotate(world, tmp_path / "home", *write_sources(tmp_path / "in")))]
    with subprocess.Popen(
        arguments,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a job of `&` ignores it, and so do its children
    ) as stopped:
        while stopped.poll() is None and not (tmp_path / "home").exists():
            time.sleep(0.02)
        stopped.send_signal(signal.SIGINT)
        _, printed = stopped.communicate()
    assert stopped.returncode == 130
    assert printed.splitlines()[-1] == (
        "e2emern: stopped; finished work is kept, and running the same command again continues"
    )
    assert "Traceback" not in printed


def test_sql_as_table_csv_and_json(home: Path) -> None:
    query = "SELECT mesh_id, mesh_name, list(DISTINCT source ORDER BY source)[:1] AS first FROM mentions GROUP BY ALL"
    query += " ORDER BY mesh_id LIMIT 1"
    assert json.loads(run("sql", query, "--home", home, "--format", "json").stdout) == [
        {"mesh_id": "C007", "mesh_name": "Cisplatin", "first": ["pubmed30n0002.xml.gz"]}
    ]
    assert list(csv.reader(io.StringIO(run("sql", query, "--home", home, "--format", "csv").stdout))) == [
        ["mesh_id", "mesh_name", "first"],
        ["C007", "Cisplatin", '["pubmed30n0002.xml.gz"]'],
    ]
    table = run("sql", query, "--home", home).stdout
    assert "| C007    | Cisplatin | pubmed30n0002.xml.gz |" in table


def test_a_truncated_answer_is_reported(home: Path) -> None:
    ended = run("sql", "SELECT 1 AS one FROM mentions", "--home", home, "--format", "csv", "--limit", 2)
    assert (ended.stdout, ended.stderr) == (
        "one\n1\n1\n",
        "e2emern: cut after 2 rows; raise --limit for more\n",
    )


def test_status(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    printed = run(*arguments("operations", "e2emern status --home home")).stdout.splitlines()
    assert printed[0].startswith("snapshot 1 of ")
    assert printed[1] == "  3 sources, 14 documents, 50 mentions (100.0% linked) of 7 concepts"
    assert printed[2] == "  1 failure, 1 deletion, 5 superseded"
    assert printed[4:] == [
        "  3 annotated",
        "champion the bundled model",
        "1 failure: no PMID",
        "1 invalid annotation: 1 other words at its offsets",
    ]


@pytest.mark.parametrize("form", ["pubtator", "bioc-xml", "bioc-json", "jsonl"])
def test_exports_parse_again(home: Path, tmp_path: Path, form: str) -> None:
    ended = run("export", "--home", home, "--format", form, "--output", tmp_path / "out")
    assert (ended.returncode, ended.stderr) == (
        0,
        f"e2emern: wrote 14 documents with 50 mentions to {tmp_path / 'out'}\n",
    )
    if form == "jsonl":
        documents = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
        assert sum(len(document["mentions"]) for document in documents) == 50
    else:
        records = list(parse(tmp_path / "out"))
        assert sum(len(record.annotations) for record in records) == 50  # type: ignore[union-attr]


def test_an_export_with_a_choice_of_concepts(home: Path, tmp_path: Path) -> None:
    deny = tmp_path / "deny.txt"
    deny.write_text("D002\n", encoding="utf-8")
    written = ["--format", "jsonl", "--output", tmp_path / "out"]
    ended = run("export", "--home", home, *written, "--branch", "C04", "--deny", deny)
    assert (ended.returncode, ended.stderr) == (
        0,
        f"e2emern: wrote 14 documents with 50 mentions to {tmp_path / 'out'}\n",
    )
    documents = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert {mention["mesh_id"] for document in documents for mention in document["mentions"]} == {"D001", None}


def test_an_entities_table_from_compact_tables(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("mesh_id\tentity_type\tpreferred\tname\nD1\tDisease\t1\tGout\n")
    (tmp_path / "records.tsv").write_text("mesh_id\trecord_type\ttree_numbers\tmapped_to\n")
    (tmp_path / "aliases.tsv").write_text("alias\tmesh_id\n")
    ended = run("mesh", "import", tmp_path, "--version", "2030", "--output", tmp_path / "mesh.parquet")
    assert ended.returncode == 0
    assert ended.stderr.startswith(f"e2emern: MeSH 2030 in {tmp_path / 'mesh.parquet'}: 1 concept with 1 name; of 1 ")
    ended = run("mesh", "import", tmp_path / "none", "--version", "2030", "--output", tmp_path / "mesh.parquet")
    assert (ended.returncode, ended.stderr) == (
        1,
        f"e2emern: {tmp_path / 'none'}: cannot be opened (No such file or directory)\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "printed"),
    [
        (
            ["status", "--home", "{tmp}/none"],
            1,
            "e2emern: {tmp}/none does not exist; annotate something into it first\n",
        ),
        (["sql", "SELECT 1", "--home", "{tmp}"], 1, "e2emern: {tmp} has no snapshot yet; annotate something into it"),
        (["sql", "DROP TABLE x", "--home", "{home}"], 1, "e2emern: found a statement of type DROP, expected a SELECT"),
        (["export", "--home", "{home}", "--format", "jsonl", "--output", "{home}"], 1, "e2emern: {home}: cannot write"),
        (["sql", "--home", "{home}"], 2, "Usage: e2emern sql"),
        (["annotate", "--home", "h", "--device", "tpu"], 2, "Usage: e2emern annotate"),
        (["unknown"], 2, "Usage: e2emern"),
        (["demo", "--home", "{home}"], 1, "e2emern: {home} holds notes.pubtator, but the sample is not mixed with"),
    ],
)
def test_errors_are_reported(home: Path, tmp_path: Path, arguments: list[str], code: int, printed: str) -> None:
    places = {"tmp": tmp_path, "home": home}
    ended = run(*(each.format(**places) for each in arguments))
    assert ended.returncode == code
    assert ended.stderr.startswith(printed.format(**places))
    assert "Traceback" not in ended.stderr


@pytest.fixture
def usage_error(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Run a command in this process, and return the last line that it prints about wrong usage."""

    def run_here(line: str) -> str:
        with pytest.raises(SystemExit) as ended:
            app(shlex.split(line), prog_name="e2emern")
        printed = capsys.readouterr()
        assert (ended.value.code, printed.out) == (2, "")
        return printed.err.splitlines()[-1]

    return run_here


def test_annotate_without_inputs_does_nothing(tmp_path: Path, usage_error: Callable[[str], str]) -> None:
    """Cause: an unset variable published the invented sample into a real home."""
    assert usage_error(f"annotate --home {tmp_path / 'home'}") == (
        "Error: give files, folders or patterns, - for standard input, or --pmids; `e2emern demo` shows a sample"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("annotate '' --home h", "'INPUT': the value is empty"),
        ("backfill --home h --model m --mesh '' --publish", "'--mesh': the value is empty"),
        ("backfill --home h --model m --mesh --publish", "'--mesh': found the option --publish, expected a value"),
        ("evaluate gold --output ''", "'--output': the value is empty"),
        ("evaluate '' --output scores", "'GOLD...': the value is empty"),
        ("corpus a/dev='' '' --output c.parquet", "'CORPUS/SPLIT=FILE...': the value is empty"),
        ("silver --text t --model '' --output o", "'--model': the value is empty"),
        ("train --config ours --output ''", "'--output': the value is empty"),
        ("ingest '' --home h", "'SOURCE...': the value is empty"),
        ("models promote 1 --home h --accept ' '", "'--accept': the value is empty"),
        ("query top-concepts --under '' --home h", "'--under': the value is empty"),
        ("status --home=", "'--home' (env var: 'E2EMERN_HOME'): the value is empty"),
    ],
)
def test_an_empty_value_is_wrong_usage(usage_error: Callable[[str], str], line: str, message: str) -> None:
    """Cause: an unset variable meant the working folder, or no condition."""
    assert usage_error(line) == f"Error: Invalid value for {message}"


def test_the_sample_has_a_home_of_its_own(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shown = run("demo", "--home", home)
    assert shown.returncode == 0, shown.stderr
    assert "The ten most frequent concepts\n" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith(f"Snapshot 1 of {home}: 25 documents, ")

    (own,) = [path for path in write_sources(tmp_path / "in") if path.name == "notes.pubtator"]
    mixed = run(*annotate(world, home, own))
    assert (mixed.returncode, mixed.stdout, mixed.stderr) == (
        1,
        "",
        f"e2emern: {home} holds the invented documents of sample.xml, which are not mixed with others; give another "
        "--home\n",
    )


def test_an_error_that_somebody_keeps_ends_in_one_line() -> None:
    """Prefect keeps the error of a run, and DuckDB's binding reports everything that outlives it."""
    code = (
        "import sys, duckdb; from e2emern.flows import cli; from e2emern.warehouse.errors import WarehouseError\n"
        "kept = []\n"
        "def refuse(**options):\n"
        "    connection = duckdb.connect()\n"
        "    kept.append(WarehouseError('refused'))\n"
        "    raise kept[0]\n"
        "cli.app = refuse; cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "e2emern: refused\n")


def test_several_problems_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cause: twenty-nine bad files gave one line of 3,290 characters."""
    for count, last in ((29, []), (30, []), (1042, ["e2emern: and 1,012 more; see e2emern status"])):
        error = ProblemsError(f"{number}.txt: the file\n is empty" for number in range(count))
        error.add_note("a note")
        monkeypatch.setattr(cli, "app", Mock(side_effect=error))
        ended = run()
        lines = [f"e2emern: {number}.txt: the file is empty" for number in range(min(count, 30))]
        assert ended.returncode == 1
        assert ended.stderr.splitlines() == [*lines, *last, "e2emern: a note"]


@pytest.mark.parametrize("group", [[], ["mesh"], ["models"], ["query"], ["snapshots"]], ids=str)
def test_help_lists_every_command_once_with_its_whole_summary(
    group: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: twenty of 21 descriptions were truncated."""
    command: Any = typer.main.get_command(app)
    for name in group:
        command = command.commands[name]
    monkeypatch.setenv("COLUMNS", "80")
    printed = run(*group, "--help").stdout
    listed = printed.partition("exit.\n\n")[2]
    assert re.findall(r"^  (\S+)  +\S", listed, re.MULTILINE) == (
        [name for names in SECTIONS.values() for name in names] if not group else list(command.commands)
    )
    assert set(re.findall(r"^  (\S+)  +\S", listed, re.MULTILINE)) == set(command.commands)
    assert "..." not in listed
    assert all(len(line) <= 80 for line in printed.splitlines())


def test_summaries_fit_on_a_line() -> None:
    command: Any = typer.main.get_command(app)
    summaries = [summary for names in SECTIONS.values() for summary in names.values()]
    for name in ("mesh", "models", "snapshots"):
        summaries += [one.short_help for one in command.commands[name].commands.values()]
    assert [summary for summary in summaries if not summary or len(summary) > 45] == []


def test_version() -> None:
    assert run("--version").stdout == f"e2emern {version('e2emern')}\n"


def test_commands_without_a_model_import_neither_torch_nor_prefect(home: Path) -> None:
    given = [["--version"], ["sql", "SELECT 1", "--home", str(home)], ["status", "--home", str(home)]]
    code = f"import sys; from e2emern.flows.cli import app\nfor words in {given}: app(words, standalone_mode=False)\n"
    code += "assert not {'torch', 'transformers', 'prefect'} & set(sys.modules), 'slow to start'"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
