"""One fault at the n-th file operation of a command, for every n, as SQLite is tested.

`python -m tests.soak.faults [--count N] [--seed N]`

A command runs on a small home and meets one I/O error, stale handle, full disk, short write or power loss
(`tests.soak.injection`). Then:

- it has done its work, or ended with one line that reports no defect;
- a reader finds the tables from before, or those of the undisturbed command;
- the same command, undisturbed, ends well, and its tables are those of the undisturbed one; once for all faults that
  leave the home in the same state;
- after a power loss at the end of the command, its tables are there without another run.

An operation meets an I/O error if its number is even, and a stale handle if it is odd: no code treats the two
differently (`flows.retries`, `warehouse.unreadable`). With `--every`, it meets both. What survives power losses is
recorded in one run of the command, since a loss changes nothing before it. With `--count`, that many faults are chosen
at random. `--only` names one command or one fault, as a failure is reported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots import compaction, opening
from tests.flows.world import World
from tests.soak.commands import COMMANDS, STATES, publish_again
from tests.soak.disk_model import DiskModel
from tests.soak.home import Seen, WrongError, look, make_worlds, write_dumps
from tests.soak.injection import KINDS, Injector, Kind
from tests.soak.work import asked, run_in_fork, use_own_temporary_folder, warm, working_folder

_WRITES = ("write", "query that writes")
_GROW = ("create", "mkdir", "symlink", "link", "fsync", *_WRITES)
_CHANGE = ("replace", "rename", "unlink", "rmdir", "chmod", *_GROW)
_MEETS: dict[str, tuple[str, ...]] = {  # the operations that meet a fault, if not all
    "disk full": _GROW,
    "short write": _WRITES,
    "power loss": _CHANGE,
    "power loss, reordered": _CHANGE,
}
_ALIKE = ("I/O error", "stale handle")
_NOT_THE_SAME = re.compile(  # in a run record: its digest and id, times, the process
    r'"(?:sha256|run_id|started|finished)": "[^"]*"|"process": \d+|\d+(?:\.\d+)?(?:e-\d+)?|seconds'
)
_EXAMINED = 10  # after one in so many faults, the doctor repairs the home and must find nothing more

Fault = tuple[str, Kind, int]
"""A command, a kind of fault, and the number of an operation; a power can be lost after the last one too."""


@dataclass(slots=True)
class Faults:
    """A small home in the right state for each command, and the results so far."""

    folder: Path
    seed: int
    every: bool = False
    met: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    operations: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    before: dict[str, Seen] = field(default_factory=dict)
    after: dict[str, Seen] = field(default_factory=dict)
    seen: dict[str, Seen] = field(
        default_factory=dict
    )  # answers of a home, by the digest of all files that readers open
    continued: set[str] = field(default_factory=set)  # states of the home from which the next run ended well

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def prepare(self, names: Sequence[str], world: World | None = None) -> None:
        """Make the homes of some commands, and run each command undisturbed."""
        compaction.LOOSE = 2
        opening._YOUNG_NS = 0
        asked(lambda: make_worlds(self.folder, world))
        warm(self.folder / "world" / "model", self.folder / "world" / "new")
        write_dumps(self.folder / "dumps")
        for name in names:
            self._make(name)
            self.before[name] = asked(lambda: look(self.home))
            self.operations[name] = asked(lambda: self._counted(name))  # noqa: B023 (asked at once)
            self.after[name] = asked(lambda: look(self.home))

    def _make(self, state: str) -> None:
        """Make the home in a state, and keep a copy of it."""
        kept = self.folder / "start" / state
        if kept.exists():
            self._copy(kept)
            return
        base, step = STATES[state]
        if base:
            self._make(base)
        else:
            shutil.rmtree(self.home.root, ignore_errors=True)
            self.home.root.mkdir()
        if step:
            asked(lambda: step(self.folder))
        shutil.copytree(self.home.root, kept, symlinks=True)

    def _copy(self, kept: Path) -> None:
        shutil.rmtree(self.home.root)
        shutil.copytree(kept, self.home.root, symlinks=True)

    def _counted(self, name: str) -> list[tuple[str, str]]:
        injector = Injector(self.home.root)
        injector.install()
        COMMANDS[name](self.folder)
        return injector.done

    def all_faults(self) -> list[Fault]:
        """Every command with every fault that each of its operations can meet."""
        return [
            (name, kind, at)
            for name, operations in self.operations.items()
            for kind in KINDS
            for at in range(len(operations) + ("power" in kind))
            if at == len(operations) or operations[at][0] in _MEETS.get(kind, (operations[at][0],))
            if self.every or kind not in _ALIKE or kind == _ALIKE[at % 2]
        ]

    def record_losses(self, chosen: Sequence[Fault]) -> None:
        """Run each command once, and keep what would survive each of the chosen power losses."""
        for name in self.operations:
            wanted = {(kind, at) for command, kind, at in chosen if command == name and "power" in kind}
            if wanted:
                self._copy(self.folder / "start" / name)
                asked(lambda: self._record(name, wanted))  # noqa: B023 (asked at once)

    def _record(self, name: str, wanted: set[tuple[Kind, int]]) -> None:
        disk = DiskModel(self.home.root, contents=self.folder / "contents")
        last = len(self.operations[name])

        def lose(number: int) -> None:
            for kind in KINDS:
                if (kind, number) in wanted:
                    rng = random.Random(f"{self.seed} {number}") if kind == "power loss, reordered" else None
                    disk.lose_power(self._survivors(name, kind, number), rng=rng)

        injector = Injector(self.home.root, disk=disk, each=lambda number: lose(number) if number < last else None)
        injector.install()
        COMMANDS[name](self.folder)
        injector.pause()
        lose(last)

    def _survivors(self, name: str, kind: Kind, at: int) -> Path:
        return self.folder / "survivors" / name / f"{kind} {at}"

    def run(self, name: str, kind: Kind, at: int, *, examined: bool) -> None:
        """Run a command with a fault, and then without. Raises WrongError."""
        ended = len(self.operations[name]) == at
        log = self.folder / "log.txt"
        self.met[f"{name}: {kind}"] += 1
        if "power" in kind:
            if not self._survivors(name, kind, at).exists():  # threads read in another order
                self.ends["not reached"] += 1
                return
            self._copy(self._survivors(name, kind, at))
            self.ends["power lost"] += 1
        else:
            self._copy(self.folder / "start" / name)
            code = run_in_fork(lambda: self._disturbed(name, kind, at), log=log)
            if code not in (0, 1):
                raise WrongError(f"the command ended with code {code}; see {log}")
            self.ends[("worked", "one line")[code]] += 1
        seen, state = self._look()
        if ended and seen.get("shown") != self.after[name].get("shown"):
            raise WrongError("what was done is lost")
        self._check_seen(name, seen)
        state = f"{name} {state} {seen} {'examined' * examined}"
        if state in self.continued:
            return
        self.continued.add(state)  # if the run does not end well, the state was reported
        if examined:
            asked(lambda: len(examine(self.home, repair=True)))
        self._again(name, log)
        if examined and (left := asked(lambda: [f"{one.code} {one.path}" for one in _examine_twice(self.home)])):
            raise WrongError(f"the doctor finds, after its repair, {left[:3]}")

    def _disturbed(self, name: str, kind: Kind, at: int) -> None:
        Injector(self.home.root, kind, at).install()
        COMMANDS[name](self.folder)

    def _look(self) -> tuple[Seen, str]:
        """Return the answers of a reader, and the digest of all files that the next run finds (`_digests`).

        A home that holds the same as one before is not read again, except for run records, which no reader opens.
        """
        shown, state = _digests(self.home)
        if shown not in self.seen:
            self.seen[shown] = asked(lambda: look(self.home))
        return self.seen[shown], state

    def _again(self, name: str, log: Path) -> None:
        if name == "prune":  # a night may come first
            run_in_fork(lambda: publish_again(self.folder), log=log)
        if code := run_in_fork(lambda: COMMANDS[name](self.folder), log=log):
            raise WrongError(f"the next run ended with code {code}; see {log}")
        (found, _), wanted = self._look(), self.after[name]
        if found.get("shown") != wanted.get("shown"):
            raise WrongError("the next run made other tables")
        if name == "prune" and len(found) != len(wanted):
            raise WrongError(f"found snapshots {[*found]} after pruning, expected {[*wanted]}")

    def _check_seen(self, name: str, seen: Seen) -> None:
        if name == "repair":  # the damage is there until then
            return
        for number, found in seen.items():
            if found not in (self.before[name].get(number, ""), self.after[name].get(number, "")):
                raise WrongError(f"a reader finds other rows in snapshot {number}: {found[:200]}")


def _digests(home: Home) -> tuple[str, str]:
    """Return the digests of all files that a reader finds in a home, and of all that the next run finds.

    Neither includes unfinished files with their names by chance; a run does not find times and the bytes of snapshots.
    """
    shown: list[object] = []
    found: list[object] = []
    for path in sorted(home.root.rglob("*")):
        name = path.relative_to(home.root).as_posix()
        if path.is_symlink():
            shown.append([name, str(path.readlink())])
            found.append([name, str(path.readlink())])
        elif path.name.startswith((".writing-", ".building")):
            found.append([path.parent.name, path.name[:9]])
        elif path.parent == home.runs:
            found.append(["run", _NOT_THE_SAME.sub("", path.read_text(errors="replace"))])
        elif path.is_file():
            content = [name, hashlib.sha256(path.read_bytes()).hexdigest()]
            shown.append(content)
            found.append([name, path.stat().st_size] if path.suffix == ".duckdb" else content)
    return _digest(shown), _digest(found)


def _digest(found: list[object]) -> str:
    return hashlib.sha256(json.dumps(sorted(found, key=str)).encode()).hexdigest()


def _examine_twice(home: Home) -> list[Any]:
    examine(home, repair=True)
    return examine(home)


def inject(
    folder: Path,
    *,
    count: int | None = None,
    seed: int = 2026,
    only: str = "",
    world: World | None = None,
    log: Callable[[str], None] = print,
    go_on: bool = False,
    every_kind: bool = False,
) -> str:
    """Run `count` faults, by default all, and return the results.

    Raises WrongError with the first harm, unless `go_on`; then the harm is logged and counted.
    """
    faults, wrong = Faults(folder, seed, every_kind), 0
    faults.prepare([name for name in COMMANDS if not only or only.partition(":")[0] == name], world)
    rng = random.Random(seed)
    chosen = [one for one in faults.all_faults() if _name(*one).startswith(only)]
    every = len(chosen)
    if count is not None and count < len(chosen):
        chosen = rng.sample(chosen, count)
    faults.record_losses(chosen)
    for number, (name, kind, at) in enumerate(chosen):
        try:
            faults.run(name, kind, at, examined=number % _EXAMINED == 0)
        except WrongError as error:
            what = " ".join((*faults.operations[name], ("end", ""))[at])
            harm = f"{_name(name, kind, at)} ({what}): {error}"
            if not go_on:
                raise WrongError(harm) from error
            wrong += 1
            log(f"wrong: {harm}")
        if number % 100 == 99:
            log(f"{number + 1} of {len(chosen)} faults")
    ends = ", ".join(f"{count} x {end}" for end, count in faults.ends.most_common())
    return f"{len(chosen):,} of {every:,} faults of {len(faults.operations)} commands: {ends}; {wrong} wrong"


def _name(name: str, kind: Kind, at: int) -> str:
    return f"{name}: {kind}: {at}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="faults, chosen at random; all")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", default="", help="the faults whose names begin so: prune, 'relink: disk full: 12'")
    parser.add_argument("--world", type=Path, help="a folder with a tiny model and its vocabulary; made if not given")
    parser.add_argument("--every", action="store_true", help="both I/O error and stale handle at every operation")
    parser.add_argument("--keep-going", action="store_true", help="report all harm, not only the first")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    begun = time.monotonic()
    folder = working_folder("faults")
    use_own_temporary_folder(folder)
    try:
        done = inject(
            folder,
            count=options.count,
            seed=options.seed,
            only=options.only,
            world=options.world and World.at(options.world),
            log=lambda line: print(line, flush=True),
            go_on=options.keep_going,
            every_kind=options.every,
        )
    except WrongError as error:
        print(f"seed {options.seed}: {error}; left as it is in {folder}")
        return 1
    print(f"{done}; {time.monotonic() - begun:.0f} s, seed {options.seed}")
    if sound := done.endswith(" 0 wrong"):
        shutil.rmtree(folder)
    return int(not sound)


if __name__ == "__main__":
    sys.exit(main())
