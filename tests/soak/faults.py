"""One fault at the n-th file operation of a command, for every n, as SQLite is tested.

`python -m tests.soak.faults [--count N] [--seed N]`

A command runs on a small home and meets one I/O error, stale handle, full disk, short write or power loss
(`tests.soak.injection`). Then:

- it has done its work, or ended with one line that reports no defect;
- a reader finds the tables from before, or those of the undisturbed command;
- the same command, undisturbed, ends well, and its tables are those of the undisturbed one; once for all faults that
  leave the home in the same state;
- after a power loss at the end of the command, its tables are there without another run.

With `--count`, that many faults are chosen at random; without, every operation meets every fault. `--only` names one
command or one fault, as a failure is reported.
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
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from e2emern.flows import annotate
from e2emern.flows.annotate import annotate_sources
from e2emern.flows.backfill import backfill
from e2emern.flows.relink import relink
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import read_snapshot
from tests.flows.world import World
from tests.soak.home import Seen, WrongError, look, make_worlds, next_mesh, world_of, write_dumps
from tests.soak.injection import KINDS, LOST, Injector, Kind
from tests.soak.work import asked, run_in_fork, use_own_temporary_folder, warm

_WRITES = ("write", "query that writes")
_GROW = ("create", "mkdir", "symlink", "link", "fsync", *_WRITES)
_CHANGE = ("replace", "rename", "unlink", "rmdir", "chmod", *_GROW)
_MEETS: dict[str, tuple[str, ...]] = {  # the operations that meet a fault, if not all
    "disk full": _GROW,
    "short write": _WRITES,
    "power loss": _CHANGE,
    "power loss, reordered": _CHANGE,
}
_NOT_THE_SAME = re.compile(  # in a run record: its digest and id, times, the process
    r'"(?:sha256|run_id|started|finished)": "[^"]*"|"process": \d+|\d+(?:\.\d+)?(?:e-\d+)?|seconds'
)
_EXAMINED = 10  # after one in so many faults, the doctor repairs the home and must find nothing more


@dataclass(slots=True)
class Faults:
    """A small home in a state for each command, and what has happened so far."""

    folder: Path
    seed: int
    met: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    operations: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    before: dict[str, Seen] = field(default_factory=dict)
    after: dict[str, Seen] = field(default_factory=dict)
    continued: set[str] = field(default_factory=set)  # states of the home from which the next run ended well

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def prepare(self, names: Sequence[str], world: World | None = None) -> None:
        """Make the homes of some commands, and run each command undisturbed."""
        warm()
        compaction.LOOSE = 2
        asked(lambda: make_worlds(self.folder, world))
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
            self._copy(state)
            return
        base, step = STATES[state]
        if base:
            self._make(base)
        else:
            shutil.rmtree(self.home.root, ignore_errors=True)
            self.home.root.mkdir()
        if step:
            asked(lambda: step(self))
        shutil.copytree(self.home.root, kept, symlinks=True)

    def _copy(self, state: str) -> None:
        shutil.rmtree(self.home.root)
        shutil.copytree(self.folder / "start" / state, self.home.root, symlinks=True)

    def _counted(self, name: str) -> list[tuple[str, str]]:
        injector = Injector(self.home.root)
        injector.install()
        COMMANDS[name](self)
        return injector.done

    def all_faults(self) -> list[tuple[str, Kind, int]]:
        """Every command with every fault that each of its operations can meet."""
        return [
            (name, kind, at)
            for name, operations in self.operations.items()
            for kind in KINDS
            for at in range(len(operations) + ("power" in kind))
            if at == len(operations) or operations[at][0] in _MEETS.get(kind, (operations[at][0],))
        ]

    def run(self, name: str, kind: Kind, at: int, *, examined: bool) -> None:
        """Run a command that meets a fault, and then again. Raises WrongError."""
        self._copy(name)
        ended = len(self.operations[name]) == at
        log = self.folder / "log.txt"
        code = run_in_fork(lambda: self._disturbed(name, kind, at), log=log)
        if code == LOST:
            shutil.rmtree(self.home.root)
            (self.folder / "survivors").rename(self.home.root)
        if code not in (0, 1, LOST):
            raise WrongError(f"the command ended with code {code}; see {log}")
        self.met[f"{name}: {kind}"] += 1
        self.ends[{0: "worked", 1: "one line", LOST: "power lost"}[code]] += 1
        seen = asked(lambda: look(self.home))
        if ended and seen.get("shown") != self.after[name].get("shown"):
            raise WrongError("what was done is lost")
        self._check_seen(name, seen)
        if examined:
            asked(lambda: len(examine(self.home, repair=True)))
        elif (state := f"{name} {_state(self.home)} {seen}") in self.continued:
            return
        else:
            self.continued.add(state)  # if the run does not end well, the state was reported
        self._again(name, log)
        if examined and (left := asked(lambda: [f"{one.code} {one.path}" for one in _examine_twice(self.home)])):
            raise WrongError(f"the doctor finds, after its repair, {left[:3]}")

    def _disturbed(self, name: str, kind: Kind, at: int) -> None:
        last = len(self.operations[name]) == at
        injector = Injector(self.home.root, kind, -1 if last else at, self.folder / "survivors", self.seed)
        injector.install()
        COMMANDS[name](self)
        if last:
            injector.at = len(injector.done)
            injector.count("end", self.home.root, changes=True)

    def _again(self, name: str, log: Path) -> None:
        if name == "prune":  # a night may come first
            run_in_fork(lambda: _publish(self), log=log)
        if code := run_in_fork(lambda: COMMANDS[name](self), log=log):
            raise WrongError(f"the next run ended with code {code}; see {log}")
        found, wanted = asked(lambda: look(self.home)), self.after[name]
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


def _state(home: Home) -> str:
    """Return the digest of all that the next run finds in a home: not names by chance, times and unfinished files."""
    found: list[list[object]] = []
    for path in sorted(home.root.rglob("*")):
        name = path.relative_to(home.root).as_posix()
        if path.is_symlink():
            found.append([name, str(path.readlink())])
        elif path.name.startswith((".writing-", ".building")):
            found.append([path.parent.name, path.name[:9]])
        elif path.parent == home.runs:
            found.append(["run", _NOT_THE_SAME.sub("", path.read_text(errors="replace"))])
        elif path.suffix == ".duckdb":  # what it answers is compared
            found.append([name, path.stat().st_size])
        elif path.is_file():
            found.append([name, hashlib.sha256(path.read_bytes()).hexdigest()])
    return hashlib.sha256(json.dumps(sorted(found, key=str)).encode()).hexdigest()


def _examine_twice(home: Home) -> list[Any]:
    examine(home, repair=True)
    return examine(home)


def _annotate(faults: Faults, *nights: int) -> None:
    paths = {path.name: path for night in nights for path in sorted((faults.folder / "dumps" / str(night)).iterdir())}
    world = world_of(faults.folder)
    annotate_sources([*paths.values()], faults.home.root, model=world.model, mesh=world.mesh, device="cpu")


def _annotate_all(faults: Faults) -> None:
    _annotate(faults, 0, 1, 2)


def _two_nights(faults: Faults) -> None:
    _annotate(faults, 0)
    _annotate(faults, 0, 1)


def _unpublished(faults: Faults) -> None:
    with patch.object(annotate, "publish", _refuse), suppress(WarehouseError):
        _annotate_all(faults)


def _refuse(*_: object, **__: object) -> None:
    raise WarehouseError("not now")


def _with_next_mesh(faults: Faults) -> None:
    write_entities(faults.home, next_mesh(faults.home.entities("tiny")), mesh_version="next")


def _publish(faults: Faults) -> None:
    publish(faults.home, _versions(faults))


def _versions(faults: Faults) -> Versions:
    current = read_snapshot(faults.home)
    return Versions(current.model_version, current.mesh_version)


def _relink(faults: Faults) -> None:
    relink(faults.home.root, mesh="next", model=world_of(faults.folder).model, device="cpu")


def _backfill(faults: Faults) -> None:
    backfill(faults.home.root, model=faults.folder / "world" / "new", device="cpu", publishing=True)


def _prune(faults: Faults) -> None:
    prune(faults.home, keep=1, grace_s=0)


def _damaged(faults: Faults) -> None:
    """Damage two files, lose one, and leave what killed processes leave."""
    home = faults.home
    documents = sorted((home.root / "documents").glob("*.parquet"))
    documents[0].write_bytes(documents[0].read_bytes()[:-100])
    next((home.root / "mentions").glob("*/c*.parquet")).unlink()
    next((home.root / "compacted").rglob("*.parquet")).write_bytes(b"cut")
    (home.root / "documents" / ".writing-1-x").write_bytes(b"left")
    (home.snapshots / ".building.duckdb").write_bytes(b"left")
    home.warehouse.unlink()


def _repair(faults: Faults) -> None:
    examine(faults.home, repair=True)
    _annotate_all(faults)


COMMANDS: dict[str, Callable[[Faults], None]] = {
    "first night": lambda faults: _annotate(faults, 0),
    "annotate": _annotate_all,
    "publish": _publish,
    "relink": _relink,
    "backfill": _backfill,
    "prune": _prune,
    "repair": _repair,
}
STATES: dict[str, tuple[str, Callable[[Faults], None] | None]] = {
    # the state of the home before each command: another state, and what is done to it
    "two nights": ("", _two_nights),
    "three nights": ("two nights", _annotate_all),
    "first night": ("", None),
    "annotate": ("two nights", None),
    "publish": ("two nights", _unpublished),
    "relink": ("three nights", _with_next_mesh),
    "backfill": ("three nights", None),
    "prune": ("three nights", _backfill),
    "repair": ("three nights", _damaged),
}


def inject(
    folder: Path,
    *,
    count: int | None = None,
    seed: int = 2026,
    only: str = "",
    world: World | None = None,
    log: Callable[[str], None] = print,
    go_on: bool = False,
) -> str:
    """Run so many faults, by default all, and return what was done.

    Raises WrongError with the first harm, unless `go_on`; then the harm is logged and counted.
    """
    faults, wrong = Faults(folder, seed), 0
    faults.prepare([name for name in COMMANDS if not only or only.partition(":")[0] == name], world)
    rng = random.Random(seed)
    chosen = [one for one in faults.all_faults() if _name(*one).startswith(only)]
    every = len(chosen)
    if count is not None and count < len(chosen):
        chosen = rng.sample(chosen, count)
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
    parser.add_argument("--keep-going", action="store_true", help="report all harm, not only the first")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="e2emern-faults-"))
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
