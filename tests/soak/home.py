"""The worlds of the soaks, and the answers of a home."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.snapshots.refs import current_number, numbers
from tests.flows.world import World, articles, make_world, pubmed
from tests.soak.oracle import Rows

_QUERIES = {
    "documents": "SELECT document_id, source, record, title, abstract FROM documents",
    "mentions": """
        SELECT document_id, source, record, start, "end", text, entity_type, mesh_id, mesh_name, model_version,
            mesh_version FROM mentions
    """,
    "failures": "SELECT source, record, CASE reason WHEN 'no PMID' THEN reason ELSE 'damage' END FROM failures",
    "counts": "SELECT source, parsed, documents, failed, deleted, status FROM sources WHERE current",
}


Seen = dict[int | str, str]  # digest of the answers of each snapshot; that of the current one is under "shown"


class WrongError(Exception):
    """A promise about a home does not hold."""


def make_worlds(folder: Path, world: World | None = None) -> None:
    """Make or copy a model and its vocabulary, and make a new model that finds the same."""
    if world:
        shutil.copytree(world.model.parent, folder / "world")
        world = World.at(folder / "world")
    else:
        world = make_world(folder / "world")
    new = folder / "world" / "new"
    shutil.copytree(world.model, new)
    weights = load_file(new / "model.safetensors")
    largest = max(weights, key=lambda one: weights[one].numel())
    save_file(weights | {largest: weights[largest] * 1.01}, new / "model.safetensors", {"format": "pt"})


def world_of(folder: Path) -> World:
    """Return the world that `make_worlds` made in a folder."""
    return World.at(folder / "world")


def next_mesh(table: Path) -> list[dict[str, object]]:
    """Return MeSH `next`: a concept is merged into a new one, another is renamed."""
    concepts = {row["mesh_id"]: row | {"mesh_version": "next"} for row in pq.read_table(table).to_pylist()}
    merged, breast = concepts.pop("D002"), concepts["D001"]
    for row, mesh_id, name in ((merged, "D100", "Colorectal Neoplasms"), (breast, "D001", "Breast Carcinoma")):
        row |= {"mesh_id": mesh_id, "name": name, "names": [name, *row["names"]]}
        row |= {"name_kinds": [*row["name_kinds"], "entry"], "aliases": ["D002"] if mesh_id == "D100" else []}
    return [*concepts.values(), merged]


def answers(home: Home, number: int | None = None) -> Rows:
    """Return the rows of a snapshot, by default the current one, that depend on nothing but its dumps and versions."""
    with open_snapshot(home, number) as connection:
        tables = {name: connection.execute(sql).fetchall() for name, sql in _QUERIES.items()}
    return {name: sorted(map(list, rows), key=str) for name, rows in tables.items()}


def digest(answers: Rows) -> str:
    """Return the SHA-256 of some answers."""
    return hashlib.sha256(json.dumps(answers).encode()).hexdigest()


def look(home: Home) -> Seen:
    """Return the digests of the answers of all snapshots."""
    try:
        shown = current_number(home)
    except WarehouseError as error:
        return {"shown": str(error)}
    if shown is None:  # nothing is published, whatever files there are
        return {}
    seen: Seen = {}
    for number in numbers(home):
        try:
            seen[number] = digest(answers(home, number))
        except WarehouseError as error:
            seen[number] = str(error)
    return seen | {"shown": seen[shown]}


def shown(home: Home) -> str:
    """Return the digest of the current snapshot's answers, or why it has none."""
    try:
        return digest(answers(home))
    except WarehouseError as error:
        return str(error)


def write_dumps(folder: Path) -> None:
    """Write the dump files of three nights; the last night issues a file of the first again."""
    for night in range(3):
        (folder / str(night)).mkdir(parents=True)
    (folder / "0" / "a.xml").write_text(pubmed(articles(4, first=100)))
    (folder / "0" / "b.xml").write_text(pubmed(articles(3, first=200), bad=1))
    (folder / "1" / "c.xml.gz").write_bytes(gzip.compress(pubmed(articles(3, first=103), deleted=[201]).encode()))
    (folder / "2" / "b.xml").write_text(pubmed(articles(2, first=201)))
    (folder / "2" / "d.xml").write_text(pubmed(articles(2, first=300), deleted=[100]))
