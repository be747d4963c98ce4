"""The state of a fortnight (test_story.py), and helpers of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import psutil

from e2emern.warehouse.layout import Home
from tests.e2e.installation import Installation, wait_for
from tests.flows.command import run
from tests.flows.world import World
from tests.pages import typed
from tests.soak.home import answers
from tests.soak.oracle import expected
from tests.soak.year import SENTENCES, Article, Dump
from tests.tasks.ingest.serving import Site


@dataclass
class Fortnight:
    """The installation, the latest content of each file name, and the versions that the tables should have."""

    installation: Installation
    world: World
    site: Site
    model: str
    mesh: str = "tiny"
    issued: dict[str, Dump] = field(default_factory=dict)
    last_night: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(Path(self.installation.settings["home"]))

    @property
    def folder(self) -> Path:
        return self.installation.folder

    def issue(self, *dumps: Dump) -> None:
        """Add files to the site, or other content under the same names."""
        for one in dumps:
            one.write(self.folder)
            self.site.add(one.name, (self.folder / one.name).read_bytes())
            self.issued[one.name] = one

    def night(self) -> dict[str, Any]:
        """Run a night to its end; it must succeed."""
        night = wait_for(self.installation.begin_night(by=typed("operations", "e2emern night")), what="the night ends")
        assert (night["state_type"], night["state"]["message"]) == ("COMPLETED", None)
        self.last_night = dict(night)
        return self.last_night

    def run(self, deployment: str, **parameters: object) -> dict[str, Any]:
        ended = self.installation.run(deployment, **parameters)
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
        return ended

    def artifact(self, key: str, *, run: str | None = None) -> dict[str, Any]:
        """The last artifact with a key, or that of a run."""
        wanted = {"key": {"any_": [key]}} | ({"flow_run_id": {"any_": [run]}} if run else {})
        (found,) = self.installation.post(
            "artifacts/filter" if run else "artifacts/latest/filter", {"artifacts": wanted}
        )
        return dict(found)

    def tables_are_right(self) -> None:
        """Compare the tables with the oracle, and run the preflight."""
        assert answers(self.home) == expected(self.issued, model=self.model, mesh=self.mesh)
        assert self.installation.check() == (0, {})

    def command(self, *words: object) -> str:
        done = run(*words, "--home", self.home.root)
        assert done.returncode == 0, done.stderr
        return done.stdout


def issue_of(number: int, pmids: range, *, deleted: tuple[int, ...] = (), readable: int | None = None) -> Dump:
    """A dump file of articles; the sentences of a PMID depend on the number of the file."""
    every = list(product(range(len(SENTENCES)), repeat=3))
    texts = (every[(7 * pmid + number) % len(every)] for pmid in pmids)
    articles = tuple(Article(pmid, text) for pmid, text in zip(pmids, texts, strict=True))
    return Dump(name=f"pubmed30n{number:04}.xml.gz", articles=articles, deleted=deleted, readable=readable)


def write_tables(folder: Path, concepts: list[dict[str, Any]]) -> None:
    """Write a version of MeSH as our compact tables."""
    names = [
        (one["mesh_id"], one["entity_type"], str(int(name == one["name"])), name)
        for one in concepts
        for name in one["names"]
    ]
    records = [
        (one["mesh_id"], one["record_type"], "|".join(one["tree_numbers"]), "|".join(one["mapped_to"]))
        for one in concepts
    ]
    aliases = [(alias, one["mesh_id"]) for one in concepts for alias in one["aliases"]]
    folder.mkdir()
    for table, columns, cells in (
        ("names", "mesh_id entity_type preferred name", names),
        ("records", "mesh_id record_type tree_numbers mapped_to", records),
        ("aliases", "alias mesh_id", aliases),
    ):
        lines = ["\t".join(row) for row in (columns.split(), *cells)]
        (folder / f"{table}.tsv").write_text("\n".join(lines) + "\n")


def at_work(installation: Installation, worker: str) -> bool:
    """Whether a process of a worker holds a claim."""
    family = psutil.Process(installation.workers[worker].pid).children(recursive=True)
    return any(Path(file.path).name.startswith(".claim-") for one in family for file in _opened(one))


def _opened(process: psutil.Process) -> list[Any]:
    try:
        return list(process.open_files())
    except psutil.Error:
        return []
