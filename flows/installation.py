"""The server, deployments and workers of an installation, all with the same address, authentication and settings.

Each part is a process of its own: Prefect reads its settings when it is imported. Without the address, Prefect would
start a temporary server for each command.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from e2emern.flows.credentials import auth_string
from e2emern.tasks.errors import InputError

_PACKAGE = Path(__file__).parents[1]
PREFECT_FILE = _PACKAGE / "prefect.yaml"
UNITS = _PACKAGE / "deploy"

WAITS = ("default",)
"""The queue of flows that wait for batches."""
WORKS = ("annotate", "backfill")
"""The queues of flows that annotate or link, one at a time."""
TRAINS = ("train",)
"""The queue of flows that train or evaluate, one at a time; nights take precedence for the CPU."""

_CREDENTIALS = "PREFECT_API_AUTH_STRING"


def environment(given: Mapping[str, str], *, folder: Path) -> dict[str, str]:
    """Return an environment with missing settings added.

    Args:
        folder: absolute; the settings are in its `e2emern.toml` if that exists, otherwise the tables are in its `home`.

    Raises:
        OSError: the authentication string is not given, and its file cannot be read or created.
    """
    config = folder / "e2emern.toml"
    ours = {
        "PREFECT_API_URL": "http://127.0.0.1:4200/api",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "E2EMERN_CONFIG": str(config) if config.is_file() else "",
    }
    whole = ours | dict(given)
    if _CREDENTIALS not in whole:
        whole[_CREDENTIALS] = auth_string()
    whole.setdefault("E2EMERN_HOME", "" if whole["E2EMERN_CONFIG"] else str(folder / "home"))
    return whole


def start_server(options: Sequence[str]) -> None:
    """Replace this process by the server."""
    _become("-m", "e2emern.flows.server", *options)


def start_night() -> None:
    """Replace this process by the command that starts a run of the deployment `nightly`."""
    _become("-m", "prefect", "deployment", "run", "nightly/nightly")


def start_worker(queues: Sequence[str], *, limit: int | None) -> None:
    """Replace this process by a worker of some queues that runs at most `limit` flows at a time."""
    _become("-m", "e2emern.flows.worker", *_options(queues, limit))


def deploy(file: Path, *, dry: bool = False) -> int:
    """Register the deployments of a file, and report what would make a night fail; `dry` only prints the changes.

    Returns the exit code. Raises InputError if the file does not exist.
    """
    if not file.is_file():
        raise InputError("no such file", path=file)
    settings = environment(os.environ, folder=Path.cwd())
    command = [sys.executable, "-m", "e2emern.flows.deploying", str(file), *(["--dry-run"] if dry else [])]
    code = subprocess.run(command, env=settings, check=False).returncode
    if not (code or dry):
        subprocess.run([sys.executable, "-m", "e2emern.flows.check_server"], env=settings, check=False)
    return code


def copy_files(folder: Path) -> list[Path]:
    """Copy prefect.yaml, the systemd units and prefect.env into a folder, and return the copies.

    Raises InputError if one of them exists there: it may have been edited.
    """
    files = [PREFECT_FILE, *sorted(UNITS.iterdir())]
    targets = [folder / file.name for file in files]
    if existing := [target for target in targets if target.exists()]:
        raise InputError("exists; copy into another folder, or move it aside", path=existing[0])
    folder.mkdir(parents=True, exist_ok=True)
    for file, target in zip(files, targets, strict=True):
        shutil.copyfile(file, target)
    return targets


def run_workers(report: Callable[[str], None]) -> int:
    """Run a worker for the flows that wait, one for nights and one that trains, until all end.

    None blocks another; the one that trains runs with lower priority. Each ends at once if its queues do not exist.
    A SIGTERM is passed on to all; Ctrl-C reaches them from the terminal. Returns the greatest exit code.
    """
    settings = environment(os.environ, folder=Path.cwd())
    worker = [sys.executable, "-m", "e2emern.flows.worker"]
    commands = {
        "waits": [*worker, *_options(WAITS, None)],
        "annotates": [*worker, *_options(WORKS, 1)],
        "trains": ["nice", "-n", "10", *worker, *_options(TRAINS, 1)],
    }
    workers = {name: subprocess.Popen(command, env=settings) for name, command in commands.items()}

    def stop(number: int, _frame: object) -> None:
        for process in workers.values():
            process.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, lambda *_: None)
    codes = []
    with ThreadPoolExecutor(len(workers)) as threads:
        waiting = {threads.submit(process.wait): name for name, process in workers.items()}
        for ended in as_completed(waiting):
            codes.append(ended.result())
            if codes[-1] and len(codes) < len(workers):
                report(f"the worker that {waiting[ended]} ended with exit code {codes[-1]}; the others continue")
    return max(map(abs, codes))


def _options(queues: Sequence[str], limit: int | None) -> list[str]:
    named = [word for queue in queues for word in ("--work-queue", queue)]
    return named if limit is None else [*named, "--limit", str(limit)]


def _become(*arguments: str) -> None:
    os.execve(sys.executable, [sys.executable, *arguments], environment(os.environ, folder=Path.cwd()))
