"""Flip single bits in the Parquet files of a small home: `python -m tests.soak.flips [--flips N] [--seed N]`.

A command that makes something from a damaged file must refuse the file, or make the same as from the sound file.
No other file may change, and the doctor must name the damaged file. The last line counts what was refused.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq

from e2emern.tasks.documents import read_documents
from e2emern.tasks.relink import relink_source
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.mesh.changes import mesh_changes
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.snapshots import compaction
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.sources.reuse import reused_mentions
from tests.warehouse.homes import CONCEPTS, MESH, VERSIONS, add_run, add_source, add_vocabulary, document, key

DOCUMENTS = 12  # of each source
LATER = "2025"  # a version of MeSH
MERGED, LOOSE, UNPUBLISHED, PARSED = (key(f"{name}.xml") for name in ("a", "d", "e", "parsed"))


@dataclass(slots=True)
class Flips:
    """Counts by command of the flips that it refused, and of those that did not change its result."""

    refused: Counter[str] = field(default_factory=Counter)
    harmless: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        names = sorted({*self.refused, *self.harmless})
        return "; ".join(f"{name}: {self.refused[name]} refused, {self.harmless[name]} harmless" for name in names)


def make_home(root: Path) -> Home:
    """Make a home with three merged sources, a loose one, an unpublished one, and one that is only parsed."""
    home = Home(root)
    add_vocabulary(home)
    every = []
    for at, name in enumerate("abcde"):
        documents = [
            document(record, str(100 * at + record + 1), text=f"A {name} {record} of aspirin for cancer")
            for record in range(DOCUMENTS)
        ]
        every += documents
        gone = [(DOCUMENTS, 100 * at - 99)] if at else []
        add_source(home, key(f"{name}.xml"), documents, deletions=gone, unread=[(3, "too long")])
        add_run(home, key(f"{name}.xml"))
        if name in "cd":
            publish(home, VERSIONS)
    add_source(home, PARSED, [row | {"record": record} for record, row in enumerate(every)])
    home.mentions(PARSED, VERSIONS).unlink()
    columns = ("mesh_id", "name", "entity_type", "tree_numbers", "record_type", "mapped_to")
    concepts = [dict(zip(columns, concept, strict=True)) for concept in CONCEPTS]
    constant = {"name_kinds": ["preferred"], "aliases": [], "mesh_version": LATER}
    write_entities(home, [one | {"names": [one["name"]]} | constant for one in concepts], mesh_version=LATER)
    return home


def flip_bits(folder: Path, *, flips: int, seed: int = 2026, each: int = 1) -> Flips:
    """Flip `flips` bits, one at a time, and run the commands that read the damaged file; slow ones after one in `each`.

    Raises AssertionError if a command makes other rows, another file changes, or the doctor does not name the damaged
    file.
    """
    rng, done = random.Random(seed), Flips()
    home, sound = make_home(folder / "home"), folder / "sound"
    shutil.copytree(home.root, sound, symlinks=True)
    paths = sorted(path for path in home.root.rglob("*.parquet") if PARSED.stem != path.stem)
    expected = {}
    for name, run in (QUICK | SLOW).items():
        expected[name] = run(home)
        _restore(home.root, sound)
    for number in range(flips):
        path = rng.choice(paths)
        content = bytearray(path.read_bytes())
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        where = f"seed {seed}, flip {number}: bit {bit} of {path.relative_to(home.root)}"
        named, refused = True, ""
        for name, run in (QUICK | SLOW if number % each == 0 else QUICK).items():
            path.write_bytes(content)
            os.utime(path, (number, number))  # a different time for every content
            try:
                made = run(home)
            except WarehouseError as error:
                refused = str(error)
                assert "\n" not in refused, where
                made = {}
            if name == "doctor":
                named = str(path.relative_to(home.root)) in made
            else:
                wrong = [one for one, rows in made.items() if rows != expected[name].get(one)]
                assert not wrong, f"{where}: {name} made other rows of {wrong[0]}"
            counts = done.harmless if len(made) >= len(expected[name]) and name != "doctor" else done.refused
            counts[name] += 1
            if name in SLOW:
                _restore(home.root, sound)
        published = UNPUBLISHED.stem != path.stem and not path.name.startswith(LATER)
        assert named or (not published and (not refused or str(path) in refused)), f"{where}: the doctor is silent"
        shutil.copy2(sound / path.relative_to(home.root), path)
    return done


def _restore(root: Path, sound: Path) -> None:
    shutil.rmtree(root)
    shutil.copytree(sound, root, symlinks=True)


def _documents(home: Home) -> Made:
    return {source.name: list(read_documents(home.documents(source))) for source in (MERGED, LOOSE, UNPUBLISHED)}


def _reused(home: Home) -> Made:
    found = reused_mentions(home, PARSED, VERSIONS)
    return {str(record): found.between(record, record).to_pylist() for record in found.records}


def _relinked(home: Home) -> Made:
    made: Made = {}
    with mesh_changes(home, old=MESH, new=LATER, fold=str.lower) as changes:
        for source in (MERGED, LOOSE, UNPUBLISHED):
            relink_source(source, home=home, changes=changes, old=VERSIONS, cascade=_no_model)
            versions = Versions(VERSIONS.model, LATER)
            for path in (home.mentions(source, versions), home.unread(source, versions)):
                made[str(path)] = pq.read_table(path).to_pylist()
    return made


def _no_model() -> NoReturn:
    raise AssertionError("the concepts are the same, so no mention has to be linked")


def _published(home: Home) -> Made:
    snapshot = publish(home, VERSIONS)
    with open_snapshot(home) as connection:
        made = {
            sql: connection.execute(f"SELECT {sql} ORDER BY ALL").fetchall()
            for sql in (
                "source, digest, record, by_source, reason FROM superseded",
                "* FROM concepts",
                "* EXCLUDE (first_run, last_run, annotated_by) FROM sources",
            )
        }
    made["counts"] = [snapshot.documents, snapshot.mentions, snapshot.linked, snapshot.failures, snapshot.deletions]
    return made | {str(path): path.read_bytes() for path in (home.root / "compacted").rglob("*.parquet")}


def _published_without_merged(home: Home) -> Made:
    """Publish as after a restore from a backup, which has no merged files."""
    shutil.rmtree(home.root / "compacted")
    return _published(home)


def _examined(home: Home) -> Made:
    return {one.path: one.code for one in examine(home) if one.code == "damaged-file"}


Made = dict[str, Any]  # results of a command, by name
QUICK: dict[str, Callable[[Home], Made]] = {"read documents": _documents, "reuse": _reused}
SLOW: dict[str, Callable[[Home], Made]] = {
    "publish": _published,
    "publish after a restore": _published_without_merged,
    "relink": _relinked,
    "doctor": _examined,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args(arguments)
    compaction.LOOSE = 2
    with tempfile.TemporaryDirectory(prefix="e2emern-flips-") as folder:
        print(f"{flip_bits(Path(folder), flips=options.flips, seed=options.seed)}; nothing was wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
