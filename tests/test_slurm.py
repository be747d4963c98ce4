"""The job array of deploy/slurm.sh, run as Slurm runs it: tasks at once on one home, and a last job that publishes."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import app
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from tests.conftest import ROOT
from tests.flows.world import World, articles, pubmed, tables
from tests.pages import block


def start(command: Path, *arguments: object, task: int | None = None, tasks: int = 0) -> subprocess.Popen[str]:
    """Start the script with the variables that Slurm gives to a task of an array, or to a job without one."""
    array = {} if task is None else {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(tasks)}
    return subprocess.Popen(
        ["bash", str(ROOT / "deploy" / "slurm.sh"), *map(str, arguments)],
        env={**os.environ, **array, "E2EMERN": str(command)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


KEEP = """
import json, sys
with open("jobs", "a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
print(4711)
"""


def submitted(folder: Path, home: Home, dumps: Path) -> tuple[list[str], list[str]]:
    """What the commands of docs/deployment.md give to the script: in the array, and in the job after it."""
    (folder / "sbatch").write_text(f"#!{sys.executable}\n{KEEP}")
    (folder / "sbatch").chmod(0o755)
    script = "\n".join(block("deployment", "array=$(sbatch"))
    script = script.replace("/data/home", shlex.quote(str(home))).replace("/data/dumps", str(dumps))
    search = {"PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", script], cwd=folder, env=os.environ | search, check=True, stdout=subprocess.DEVNULL)
    array, last = (json.loads(line) for line in (folder / "jobs").read_text().splitlines())
    assert array[:3] == ["--parsable", "--array=0-99", "deploy/slurm.sh"]
    assert last[:2] == ["--dependency=afterany:4711", "deploy/slurm.sh"]
    return array[3:], last[2:]


def test_two_tasks_and_a_dead_one_give_the_tables_of_one_process(world: World, tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for number in range(1, 6):
        text = pubmed(articles(12, first=980 + 20 * number), deleted=[961 + 20 * number], bad=1)
        (dumps / f"pubmed30n{number:04}.xml.gz").write_bytes(gzip.compress(text.encode()))
    command = tmp_path / "e2emern"  # with the small model of the tests
    # one process, since each imports torch
    options = ["--model", str(world.model), "--mesh", str(world.mesh), "--device", "cpu", "--processes", "1"]
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m e2emern.flows.cli "$@" {shlex.join(options)}\n')
    command.chmod(0o755)
    home = Home(tmp_path / "home of all tasks")
    array, last = submitted(tmp_path, home, dumps)

    tasks = [start(command, *array, task=task, tasks=3) for task in (4, 5)]  # task 3 died with its node
    said = [task.communicate()[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    done = {path.name.split(".")[0] for path in home.root.glob("mentions/*/[!.]*.parquet")}
    assert done == {"pubmed30n0002", "pubmed30n0003", "pubmed30n0005"}  # every third file, from the second and third on
    assert not home.warehouse.exists()

    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')  # this process has torch already, so it runs the command
    words = start(command, *last).communicate()[0].splitlines()
    published = CliRunner().invoke(app, [*words, *options])
    assert published.exit_code == 0, published.output
    assert "Snapshot 1 of " in published.output
    annotate_sources([dumps], tmp_path / "one process", model=world.model, mesh=world.mesh, device="cpu")
    assert tables(home.root) == tables(tmp_path / "one process")
    assert examine(home) == []


def test_more_tasks_than_files(tmp_path: Path) -> None:
    idle = start(tmp_path / "none", "home", "one.xml", task=7, tasks=10)
    assert (idle.communicate()[0], idle.returncode) == ("more tasks than files: nothing to do\n", 0)


def test_a_job_without_files_says_how_to_submit_it(tmp_path: Path) -> None:
    wrong = start(tmp_path / "none", "home")
    assert (wrong.communicate()[0], wrong.returncode) == (
        "usage: sbatch [--array=0-99] slurm.sh HOME FILE...\n",
        2,
    )
