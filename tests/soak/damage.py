"""Damage to any file of a home: `python -m tests.soak.damage [--count N] [--seed N] [--start N] [--only WORDS]`.

One bit of one file is flipped, or (one time in five) the file is cut, emptied, filled with zeros, overwritten with
something else, or deleted; all kinds of files are hit equally often. Then, on the damaged home:

- every reader and a night with a new source succeed or end with one line;
- the doctor names the file, or the tables of that night are those of the sound home;
- `doctor --repair` moves files only to quarantine, and a second one changes nothing;
- what it cannot repair is restored from a backup, as docs/doctor.md advises; after the next night, the tables are those
  of the sound home and the doctor finds nothing.

The last line counts what found the damage: a command, only the doctor, or nothing, as it was harmless.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2emern.flows.annotate import IncompleteError, annotate_sources
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.doctor_findings import Finding
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.mesh.changes import mesh_changes
from e2emern.warehouse.mesh.entities import list_vocabularies, write_entities
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.queries.trace import trace
from e2emern.warehouse.registry.models import add_model, changes, check_files, models, promote
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import open_snapshot, read_snapshot
from e2emern.warehouse.snapshots.refs import numbers, roll_back, rollbacks
from e2emern.warehouse.sources import history
from tests.flows.world import World
from tests.soak.home import WrongError, make_worlds, next_mesh, shown, world_of, write_dumps
from tests.soak.work import asked, run_in_fork, use_own_temporary_folder, warm, working_folder

_OURS = ("documents", "deletions", "failures", "mentions", "compacted")  # which --repair and a night make again


@dataclass(slots=True)
class Damages:
    """A sound home, and the results so far."""

    folder: Path
    seed: int
    found: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    after: str = ""  # digest of the home's answers after the night
    replaced: frozenset[str] = frozenset()  # file stems of sources that the last night no longer reads

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def sound(self) -> Path:
        return self.folder / "sound"

    def prepare(self, world: World | None = None) -> None:
        """Make the home, and run the readers and the night on it undamaged."""
        compaction.LOOSE = 2
        history.CHECKPOINT_EVERY = 2  # type: ignore[misc]
        asked(lambda: make_worlds(self.folder, world))
        warm(world_of(self.folder).model)
        write_dumps(self.folder / "dumps")
        asked(lambda: _make_home(self))
        shutil.copytree(self.home.root, self.sound, symlinks=True)
        refused, self.after, self.replaced = asked(
            lambda: (_refused(self), shown(self.home), _replaced_sources(self.home))
        )
        if refused:
            raise WrongError(f"the sound home is refused by {refused}")

    def files(self) -> dict[str, list[Path]]:
        """The files of the sound home by kind, as relative paths."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.sound.rglob("*")):
            relative = path.relative_to(self.sound)
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                kind = _kind(relative.parts)
                found.setdefault(kind, []).append(relative)
        return found

    def run(self, number: int) -> str:
        """Damage one file and check all promises. Raises WrongError."""
        rng = random.Random(f"{self.seed} {number}")
        kinds = self.files()
        kind = rng.choice([*kinds])
        path = rng.choice(kinds[kind])
        shutil.rmtree(self.home.root)
        shutil.copytree(self.sound, self.home.root, symlinks=True)
        what = _damage(self.home.root / path, rng)
        where = f"--seed {self.seed} --start {number} --count 1: {path} {what}"
        try:
            end = self._check(path)
        except WrongError as error:
            raise WrongError(f"{where}: {error}") from error
        self.found[end] += 1
        self.kinds[f"{kind}: {end}"] += 1
        return where

    def _check(self, path: Path) -> str:
        log = self.folder / "log.txt"
        outcome = self.folder / "outcome"
        outcome.unlink(missing_ok=True)
        if code := run_in_fork(lambda: outcome.write_text("\n".join(_refused(self))), log=log):
            raise WrongError(f"a command ended with code {code}; see {log}")
        refused = outcome.read_text().splitlines()
        seen = asked(lambda: shown(self.home))
        named, left, lost = asked(lambda: _repaired(self.home, path))
        if lost:
            raise WrongError(f"the repair lost {lost[:3]}")
        if isinstance(left, str):
            raise WrongError(left)
        if not (named or refused or seen == self.after):
            raise WrongError("the night made other tables, and nothing found the damage")
        self._recover(path, left)
        return "a command" if refused else "the doctor" if named else "harmless"

    def _recover(self, path: Path, left: list[Finding]) -> None:
        """Restore what cannot be repaired, and run the night."""
        for relative in {path, *(Path(one.path) for one in left)}:
            here, sound = self.home.root / relative, self.sound / relative
            made_again = relative.parts[0] in _OURS and relative.stem not in self.replaced
            if made_again or relative.name.endswith(".duckdb") or not sound.is_file():
                continue
            here.parent.mkdir(parents=True, exist_ok=True)
            here.unlink(missing_ok=True)
            shutil.copy2(sound, here)
        log = self.folder / "log.txt"
        if code := run_in_fork(lambda: _night(self), log=log):
            raise WrongError(f"the night after the repair ended with code {code}; see {log}")
        if asked(lambda: shown(self.home)) != self.after:
            raise WrongError("the night after the repair made other tables")
        if still := asked(lambda: _examined(self.home)):
            raise WrongError(f"after repair and night, the doctor finds {still[:3]}")


def _replaced_sources(home: Home) -> frozenset[str]:
    with open_snapshot(home) as connection:
        rows = connection.execute("SELECT source, digest FROM sources WHERE NOT current").fetchall()
    return frozenset(SourceKey(*row).stem for row in rows)


def _kind(parts: tuple[str, ...]) -> str:
    match parts:
        case ("models", *_, name):
            return f"models/{name}"
        case ("snapshots", name):
            return "snapshots/*.duckdb" if name.endswith(".duckdb") else f"snapshots/{name}"
        case (folder, *others, _):
            return f"{folder}/{'*/' * len(others)}*"
        case _:
            return parts[0]


def _make_home(damages: Damages) -> None:
    """Make a home with every kind of file: a champion, merged files, a rollback, two vocabularies, a checkpoint."""
    home, world = damages.home, world_of(damages.folder)
    home.root.mkdir()
    version = model_version(world.model)
    annotate_sources(_inputs(damages, 0), home.root, model=world.model, mesh=world.mesh, device="cpu")
    add_model(home, world.model, version=version)
    promote(home, version, over=None, why="the first")
    for nights in ((0,), (0, 1)):
        annotate_sources(_inputs(damages, *nights), home.root, mesh=world.mesh, device="cpu")
    write_entities(home, next_mesh(home.entities("tiny")), mesh_version="next")
    roll_back(home, why="to see")
    publish(home, read_snapshot(home).versions, accept="seen")
    annotate_sources(_inputs(damages, 0, 1), home.root, mesh=world.mesh, device="cpu")


def _inputs(damages: Damages, *nights: int) -> list[Path]:
    paths = {path.name: path for night in nights for path in sorted((damages.folder / "dumps" / str(night)).iterdir())}
    for path in paths.values():
        os.utime(path, (1e9, 1e9))  # old enough that their digests are kept
    return [*paths.values()]


def _night(damages: Damages) -> None:
    annotate_sources(_inputs(damages, 0, 1, 2), damages.home.root, mesh=world_of(damages.folder).mesh, device="cpu")


def _refused(damages: Damages) -> list[str]:
    """Return the readers that refuse the home; the last makes the tables of a new night."""
    home = damages.home
    refused = []
    for name, read in (READERS | {"night": lambda _: _night(damages)}).items():
        try:
            read(home)
        except (InputError, WarehouseError, OSError) as error:
            if len(str(error).splitlines()) != 1 and not isinstance(error, IncompleteError):
                raise
            refused.append(name)
    return refused


def _tables(home: Home) -> None:
    with open_snapshot(home) as connection:
        for table in ("documents", "mentions", "failures", "deletions", "entities", "entity_tree", "superseded"):
            connection.execute(f"FROM {table}").fetchall()


def _compared(home: Home) -> None:
    with mesh_changes(home, old="tiny", new="next", fold=str.lower) as found:
        found.listed()


def _models(home: Home) -> None:
    changes(home)
    for model in models(home):
        check_files(model.folder)


READERS: dict[str, Callable[[Home], object]] = {
    "status": status,
    "snapshots list": lambda home: [read_snapshot(home, number) for number in numbers(home)],
    "rollbacks": rollbacks,
    "models": _models,
    "vocabularies": list_vocabularies,
    "trace": lambda home: trace(home, "104"),
    "tables": _tables,
    "mesh diff": _compared,
}


def _repaired(home: Home, damaged: Path) -> tuple[bool, list[Finding] | str, list[str]]:
    """Return whether the doctor names the file, what it cannot repair or why it fails, and what it deleted."""
    named = any(Path(one.path) == damaged or one.path in map(str, damaged.parents) for one in examine(home))
    before = _paths(home.root)
    examine(home, repair=True)
    repaired = _paths(home.root)
    left = examine(home, repair=True)
    kept = {path.relative_to("quarantine") for path in _paths(home.root) if path.parts[0] == "quarantine"}
    lost = [str(path) for path in before - _paths(home.root) - kept if path.parts[0] != "quarantine"]
    lost = [path for path in lost if Path(path).name[0] != "."]
    if moved := sorted(map(str, repaired ^ _paths(home.root))):
        return named, f"a second repair moves {moved[:3]}", lost
    return named, left, lost


def _examined(home: Home) -> list[str]:
    examine(home, repair=True)  # releases what is in quarantine
    return [f"{one.code} {one.path}" for one in examine(home)]


def _paths(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


def _damage(path: Path, rng: random.Random) -> str:
    """Damage a file and return how."""
    content = bytearray(path.read_bytes())
    kind = "flip" if rng.random() < 0.8 else rng.choice(("cut", "emptied", "zeroed", "overwritten", "deleted"))
    path.chmod(0o644)
    match kind:
        case "flip":
            bit = rng.randrange(8 * len(content))
            content[bit // 8] ^= 1 << bit % 8
            kind = f"flip of bit {bit}"
        case "cut":
            del content[rng.randrange(len(content)) :]
        case "emptied":
            content.clear()
        case "zeroed":
            start = rng.randrange(len(content))
            content[start : start + 512] = bytes(len(content[start : start + 512]))
        case "overwritten":
            content[:] = rng.choice((b"hello\n", b"[1]", b'{"a": [null]}', rng.randbytes(300)))
    if kind == "deleted":
        path.unlink()
    else:
        path.write_bytes(content)
    return kind


def damage(
    folder: Path,
    *,
    count: int,
    seed: int = 2026,
    start: int = 0,
    world: World | None = None,
    log: Callable[[str], None] = print,
    go_on: bool = False,
) -> str:
    """Damage `count` files, one at a time, and return the results. Raises WrongError with the first harm."""
    damages = Damages(folder, seed)
    damages.prepare(world)
    wrong = 0
    for number in range(start, start + count):
        try:
            damages.run(number)
        except WrongError as error:
            if not go_on:
                raise
            wrong += 1
            log(f"wrong: {error}")
        if (number - start) % 50 == 49:
            log(f"{number - start + 1} of {count} damages: {dict(damages.found)}")
    found = ", ".join(f"{count} x {what}" for what, count in damages.found.most_common())
    return f"{count:,} damages to {len(damages.files())} kinds of files: found by {found}; {wrong} wrong"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--start", type=int, default=0, help="number of the first damage")
    parser.add_argument("--world", type=Path, help="a folder with a tiny model and its vocabulary; made if not given")
    parser.add_argument("--keep-going", action="store_true", help="report all harm, not only the first")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    begun = time.monotonic()
    folder = working_folder("damage")
    use_own_temporary_folder(folder)
    try:
        done = damage(
            folder,
            count=options.count,
            seed=options.seed,
            start=options.start,
            world=options.world and World.at(options.world),
            log=lambda line: print(line, flush=True),
            go_on=options.keep_going,
        )
    except WrongError as error:
        print(f"{error}; left as it is in {folder}")
        return 1
    print(f"{done}; {time.monotonic() - begun:.0f} s, seed {options.seed}")
    shutil.rmtree(folder)
    return int(not done.endswith(" 0 wrong"))


if __name__ == "__main__":
    sys.exit(main())
