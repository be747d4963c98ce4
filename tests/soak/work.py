"""What is done to a home in a process that may be killed: a fork of a warm one, or the whole command."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import WarehouseError

DEFECT = 3
"""Exit code of work that raised what no user should see."""

_FORK = multiprocessing.get_context("fork")
_LONGEST_S = 300.0


@dataclass(slots=True)
class Killer:
    """Runs work that it kills at random moments of it, and then again until it ends."""

    rng: random.Random
    log: Path
    kills: int = 0
    _seconds: dict[str, float] = field(default_factory=dict)  # that each kind of work took when it was not killed

    def work(self, kind: str, do: Callable[[], object], *, kills: int) -> int:
        """Have forks of this process do the work, so many of which are killed, and return the exit code of the last."""
        seconds = self._seconds.get(kind, 2.0)
        for _ in range(kills):
            child = _FORK.Process(target=self._run, args=(do,))
            child.start()
            child.join(self.rng.uniform(0, seconds))
            child.kill()
            child.join()
            self.kills += child.exitcode == -signal.SIGKILL
        begun = time.monotonic()
        child = _FORK.Process(target=self._run, args=(do,))
        child.start()
        child.join(_LONGEST_S)
        if child.exitcode is None:
            child.kill()
            child.join()
        self._seconds[kind] = time.monotonic() - begun
        return int(child.exitcode or 0)

    def command(self, arguments: list[str], *, environment: dict[str, str], kills: int) -> int:
        """Run the whole command line, kill so many of its processes, and return the exit code of the last."""
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

    def _run(self, do: Callable[[], object]) -> None:
        with self.log.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                do()
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except (InputError, WarehouseError) as error:
                print(f"e2emern: {error}")
                code = 1
            except Exception:  # a defect
                traceback.print_exc()
                code = DEFECT
        os._exit(code)


def asked(question: Callable[[], Any]) -> Any:
    """Return the answer that a fork of this process finds, so that this one never holds threads or open files."""
    receive, send = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=lambda: send.send(question()))
    child.start()
    send.close()
    try:
        return receive.recv()
    finally:
        child.join()
