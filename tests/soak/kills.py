"""A year of nights, killed again and again: `python -m tests.soak.kills [--nights N] [--kills N] [--seed N]`.

After every night the tables must equal an oracle of simple code, and every snapshot that is kept must answer as it did
when it was published. In the year the model changes (backfill) and MeSH does (relink), snapshots are rolled back and
pruned, and small files are merged. Commands run in forks of this process, since starting Python again would take most
of the time, and now and then as a whole with their Prefect server. The last line says what was checked and found.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.backfill import backfill
from e2emern.flows.relink import relink
from e2emern.model.version import model_version
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.refs import roll_back
from tests.flows.world import World
from tests.soak.home import WrongError, answers, digest, make_worlds, next_mesh
from tests.soak.oracle import Rows, expected
from tests.soak.work import Killer, asked, use_own_temporary_folder, warm, working_folder
from tests.soak.year import Dump, make_year


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--commands", type=int, default=6, help="nights in which the whole command is run and killed")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--folder", type=Path, help="where to work, and what to keep; a temporary folder")
    parser.add_argument("--world", type=Path, help="a folder with a tiny model and its vocabulary; made if not given")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = options.folder or working_folder("kills")
    folder.mkdir(parents=True, exist_ok=True)
    use_own_temporary_folder(folder)
    soak = Soak(
        folder,
        nights=options.nights,
        kills=options.kills,
        commands=options.commands,
        seed=options.seed,
        world=options.world and World.at(options.world),
    )
    begun = time.monotonic()
    try:
        soak.run()
    except WrongError as error:
        print(f"seed {options.seed}, night {soak.night}: {error}; left as it is in {folder}")
        return 1
    print(f"{soak.summary()}; {time.monotonic() - begun:.0f} s, seed {options.seed}: nothing was wrong")
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


@dataclass(slots=True)
class Soak:
    """One home through a year; `checked` holds the answers of every snapshot seen so far."""

    folder: Path
    nights: int
    kills: int
    commands: int
    seed: int
    world: World | None = None
    night: int = 0
    issued: dict[str, Dump] = field(default_factory=dict)
    checked: dict[int, str] = field(default_factory=dict)
    comparisons: int = 0
    rows: int = 0
    done: dict[str, int] = field(default_factory=dict)
    model: Path = Path()
    mesh: str = "tiny"
    killer: Killer = field(init=False)

    def run(self) -> None:
        """Run the year. Raises WrongError with the first error."""
        rng = random.Random(self.seed)
        self.killer = Killer(rng, self.folder / "log.txt")
        (self.folder / "dumps").mkdir()
        asked(lambda: make_worlds(self.folder, self.world))
        self.model = self.folder / "world" / "model"
        warm(self.model, self.folder / "world" / "new")
        compaction.LOOSE = max(6, self.nights // 4)  # so that files are merged several times a year
        events: dict[int, Callable[[], None]] = {
            self.nights * 3 // 10: self.prune,
            self.nights * 4 // 10: self.change_model,
            self.nights * 6 // 10: self.go_back,
            self.nights * 7 // 10: self.change_mesh,
            self.nights * 9 // 10: self.prune,
        }
        whole = set(range(2, self.nights, max(1, self.nights // max(1, self.commands))))
        for night, dumps in enumerate(make_year(self.nights, rng)):
            self.night = night
            for dump in dumps:
                dump.write(self.folder / "dumps")
                self.issued[dump.name] = dump
            self.annotate(whole=self.night in whole and self.commands > 0)
            self.compare()
            if self.night in events:
                events[self.night]()
                self.compare()
            print(f"night {self.night}: {len(self.issued)} files, {self.killer.kills} kills, "
                  f"{len(self.checked)} snapshots", flush=True)  # fmt: skip
        while self.killer.kills < self.kills:  # some processes had ended before they were killed
            self.annotate(whole=False)
        self.finish()

    def annotate(self, *, whole: bool) -> None:
        """Run one night."""
        dumps, home, model = self.folder / "dumps", self.home.root, self.model
        table = self.home.entities(self.mesh) if self.night else self.folder / "world" / "entities" / "tiny.parquet"
        ends = int(
            any(dump.readable is not None for dump in self.issued.values())
        )  # a damaged file is reported each time
        if whole:
            environment = os.environ | {"PREFECT_HOME": str(self.folder / "prefect"), "NO_COLOR": "1"}
            given = ["annotate", str(dumps), "--home", str(home), "--model", str(model), "--mesh", str(table)]
            code = self.killer.command([*given, "--device", "cpu"], environment=environment, kills=2)
            self._ended("whole command", code, ends)
        else:
            self._work(
                "annotate", lambda: annotate_sources([dumps], home, model=model, mesh=table, device="cpu"), ends=ends
            )

    def change_model(self) -> None:
        """All documents are annotated with the new model, then shown."""
        home, new = self.home.root, self.folder / "world" / "new"
        self._work("unpublished backfill", lambda: backfill(home, model=new, device="cpu"))
        self.compare()  # with the former model
        self._work("backfill", lambda: backfill(home, model=new, device="cpu", publishing=True))
        self.model = new

    def change_mesh(self) -> None:
        """MeSH `next`: a concept is merged into a new one, another is renamed."""
        home, model = self.home, self.model
        rows = asked(lambda: next_mesh(home.entities("tiny")))
        self._work("import", lambda: write_entities(home, rows, mesh_version="next"), kills=0)
        self._work("relink", lambda: relink(home.root, mesh="next", model=model, device="cpu"))
        self.mesh = "next"

    def go_back(self) -> None:
        """Roll back: the previous snapshot is shown, and nothing is published until somebody accepts it."""
        home, before = self.home, sorted(self.checked)[-2]
        self._work("rollback", lambda: roll_back(home, before, why="soak"), kills=0)
        if asked(lambda: digest(answers(home))) != self.checked[before]:
            raise WrongError(f"after the rollback to {before}, something else is shown")
        versions = Versions(asked(lambda: model_version(self.model)), self.mesh)
        self._work("publish", lambda: publish(home, versions), ends=1, kills=0)
        self._work("publish", lambda: publish(home, versions, accept="soak"))

    def prune(self) -> None:
        """Prune, and keep few snapshots."""
        home, keep = self.home, max(2, self.nights // 10)
        self._work("prune", lambda: prune(home, keep=keep, grace_s=0))
        there = set(self._numbers())
        if len(there) != keep:
            raise WrongError(f"found {len(there)} snapshots after pruning, expected {keep}")

    def compare(self) -> None:
        """Compare the current tables with the oracle, and record those of new snapshots for later."""
        home, numbers = self.home, self._numbers()
        found: Rows = asked(lambda: answers(home))
        model = asked(lambda: model_version(self.model))
        _check_equal(found, expected(self.issued, model=model, mesh=self.mesh))
        self.comparisons += 1
        self.rows += sum(map(len, found.values()))
        for number in numbers:
            if number not in self.checked:
                self.checked[number] = asked(lambda: digest(answers(home, number)))  # noqa: B023 (asked at once)

    def finish(self) -> None:
        """Check every kept snapshot again, and run the doctor."""
        home = self.home
        kept = self._numbers()
        for number in kept:
            if asked(lambda: digest(answers(home, number))) != self.checked[number]:  # noqa: B023 (asked at once)
                raise WrongError(f"snapshot {number} answers otherwise than when it was published")
        self.done["snapshots kept"] = len(kept)
        asked(lambda: len(examine(home, repair=True)))
        if left := asked(lambda: [f"{one.code} {one.path}" for one in examine(home)]):
            raise WrongError(f"the doctor finds, after its repair, {left[:3]}")
        self.compare()
        self.done["merged files"] = len(list((home.root / "compacted" / "documents").glob("*.parquet")))

    def summary(self) -> str:
        """Summarize what was checked."""
        done = ", ".join(f"{count} x {what}" for what, count in sorted(self.done.items()) if count)
        return (
            f"{self.nights} nights, {len(self.issued)} dump files, {self.killer.kills} processes killed ({done}): "
            f"{self.comparisons} times the tables equalled the oracle ({self.rows:,} rows), "
            f"{len(self.checked)} snapshots published"
        )

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.home.snapshots.glob("[0-9]*.duckdb"))

    def _work(self, kind: str, do: Callable[[], object], *, ends: int = 0, kills: int | None = None) -> None:
        if kills is None:  # what is left, over what is left to do
            kills = -(-(self.kills - self.killer.kills) // max(1, self.nights - self.night + 1))
        self._ended(kind, self.killer.work(kind, do, kills=kills), ends)

    def _ended(self, kind: str, code: int, ends: int) -> None:
        self.done[kind] = self.done.get(kind, 0) + 1
        if code != ends:
            raise WrongError(f"{kind} ended with code {code}, expected {ends}; see {self.killer.log}")


def _check_equal(found: Rows, wanted: Rows) -> None:
    for table in wanted:
        if found[table] != wanted[table]:
            more = [row for row in found[table] if row not in wanted[table]]
            less = [row for row in wanted[table] if row not in found[table]]
            raise WrongError(
                f"{table}: found {len(found[table])} rows, expected {len(wanted[table])}; too many: {more[:2]}, "
                f"missing: {less[:2]}"
            )


if __name__ == "__main__":
    sys.exit(main())
