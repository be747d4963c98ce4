"""Work on a home in a process that may be killed: a fork of a warm one, or the whole command."""

from __future__ import annotations

import faulthandler
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2emern.tasks.errors import InputError, ProblemsError
from e2emern.tasks.models import hide_progress_bars
from e2emern.warehouse.errors import WarehouseError

DEFECT = 3
"""Exit code of work that raised what no user should see."""

_FORK = multiprocessing.get_context("fork")
_LONGEST_S = 300.0
_ROOM = 4 << 30  # bytes


@dataclass(slots=True)
class Killer:
    """Run work, kill it at random moments, and repeat it until it ends."""

    rng: random.Random
    log: Path
    kills: int = 0
    _seconds: dict[str, float] = field(default_factory=dict)  # that each kind of work took when it was not killed

    def work(self, kind: str, do: Callable[[], object], *, kills: int) -> int:
        """Do the work in forks of this process, kill some of them, and return the exit code of the last."""
        seconds = self._seconds.get(kind, 2.0)
        for _ in range(kills):
            child = _FORK.Process(target=_run, args=(do, self.log))
            child.start()
            child.join(self.rng.uniform(0, seconds))
            child.kill()
            child.join()
            self.kills += child.exitcode == -signal.SIGKILL
        begun = time.monotonic()
        code = run_in_fork(do, log=self.log)
        self._seconds[kind] = time.monotonic() - begun
        return code

    def command(self, arguments: list[str], *, environment: dict[str, str], kills: int) -> int:
        """Run the whole command line, kill some of its processes, and return the exit code of the last."""
        seconds = self._seconds.get("command", 15.0)
        for _ in range(kills):
            process = self._started(arguments, environment)
            try:
                process.wait(self.rng.uniform(seconds / 3, seconds))  # the first third is Python being started
            except subprocess.TimeoutExpired:
                process.kill()
            self.kills += process.wait() == -signal.SIGKILL
        begun = time.monotonic()
        code = self._started(arguments, environment).wait(_LONGEST_S)
        self._seconds["command"] = time.monotonic() - begun
        return code

    def _started(self, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "e2emern.flows.cli", *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def warm(*models: Path) -> None:
    """Load once what every fork of this process would load again: modules, and some models."""
    import pandas  # noqa: F401 (DuckDB imports it)
    import pyarrow.pandas_compat  # noqa: F401
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    from e2emern.model.inference import cascade

    get_checkpoint_conversion_mapping("bert")  # type: ignore[no-untyped-call]  # compiles a thousand patterns
    if models:
        hide_progress_bars()
        load = cascade.load_model
        loaded = {_content(model): load(model, device="cpu") for model in models}

        def load_once(folder: Path, *, device: str, dtype: Any = None) -> Any:
            known = loaded.get(_content(folder)) if device == "cpu" and dtype is None else None
            return known or load(folder, device=device, dtype=dtype)

        cascade.load_model = load_once


def _content(folder: Path) -> str:
    """Return the digest of the names and contents of the files of a folder."""
    found = [(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def working_folder(name: str) -> Path:
    """Make a temporary folder for a soak; in memory if there is room, since flushing is modelled or not tested.

    The environment variable `TMPDIR` names another place.
    """
    memory = Path("/dev/shm")
    roomy = "TMPDIR" not in os.environ and memory.is_dir() and shutil.disk_usage(memory).free > _ROOM
    return Path(tempfile.mkdtemp(prefix=f"e2emern-{name}-", dir=memory if roomy else None))


def use_own_temporary_folder(folder: Path) -> None:
    """Make this process and its children keep temporary files in a folder, since killed ones leave theirs."""
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")


def run_in_fork(do: Callable[[], object], *, log: Path) -> int:
    """Do some work in a fork of this process, and return its exit code: 1 after an error of ours or of the system."""
    child = _FORK.Process(target=_run, args=(do, log))
    child.start()
    child.join(_LONGEST_S)
    if child.exitcode is None:
        child.kill()
        child.join()
    return int(child.exitcode or 0)


def _run(do: Callable[[], object], log: Path) -> None:
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        faulthandler.dump_traceback_later(_LONGEST_S - 10, file=file)  # what hangs
        try:
            do()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except (InputError, WarehouseError, OSError) as error:  # one line on the command line, as flows.cli prints it
            print(f"e2emern: {error}")
            lines = 1 if isinstance(error, ProblemsError) else len(str(error).splitlines())
            code = 1 if lines == 1 else DEFECT
        except Exception:  # a defect
            traceback.print_exc()
            code = DEFECT
    os._exit(code)


def asked(question: Callable[[], Any]) -> Any:
    """Return an answer computed in a fork of this process, so that this one never holds threads or open files."""
    receive, send = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=lambda: send.send(question()))
    child.start()
    send.close()
    try:
        return receive.recv()
    finally:
        child.join()
