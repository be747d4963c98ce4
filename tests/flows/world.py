"""A small world for the tests of the flow: a trained tiny model, its vocabulary, and sources made of its sentences."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from e2emern.flows.annotate import Outcome, local_worker, run_sources
from e2emern.model.document import Concept
from e2emern.model.pretrained import save_model
from e2emern.model.seen import Seen, write_seen
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.annotate import Annotated, annotate_source
from e2emern.tasks.models import keep_vocabulary, read_versions
from e2emern.tasks.resolve import find_mesh, find_model
from e2emern.tasks.sources import Source
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.trusted import query_trusted
from tests.model import tiny

CONCEPTS = (*tiny.CONCEPTS, Concept("D009369", "Disease", ("Neoplasms",), "descriptor", ("C04",)))
TEXTS = [text for text, _ in tiny.SENTENCES]

TABLES = ("documents", "mentions", "failures", "deletions", "annotations", "entities", "entity_tree", "superseded")
ACCOUNTS = (
    "SELECT source, digest, rank, format, bytes, status, error, parsed, documents, annotated, without_text, failed, "
    "deleted, invalid_annotations, carried, mentions FROM sources"
)


@dataclass(frozen=True, slots=True)
class World:
    """A model folder and an entities table."""

    model: Path
    mesh: Path

    @classmethod
    def at(cls, folder: Path) -> World:
        """Return the world that `make_world` made in a folder."""
        return cls(folder / "model", folder / "entities" / "tiny.parquet")


def make_world(folder: Path) -> World:
    """Train the tiny network until it knows its five sentences by heart, and write it with its vocabulary."""
    network = tiny.network(hidden=32, candidate_weight=0.3)
    tiny.learn(network, Vocabulary(CONCEPTS, version="tiny"))
    save_model(network, tiny.tokenizer(), folder / "model")
    write_seen(folder / "model", Seen())
    return World(folder / "model", tiny.save_entities(folder, CONCEPTS))


def pubmed(articles: Sequence[tuple[int, str, str]], *, deleted: Sequence[int] = (), bad: int = 0) -> str:
    """A PubMed XML file of (PMID, title, abstract), some articles without a PMID, and deletions."""
    parts = [
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle>"
        f"<Abstract><AbstractText>{abstract}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>"
        for pmid, title, abstract in articles
    ]
    parts += ["<PubmedArticle><MedlineCitation><Article/></MedlineCitation></PubmedArticle>"] * bad
    if deleted:
        parts.append("<DeleteCitation>" + "".join(f"<PMID>{pmid}</PMID>" for pmid in deleted) + "</DeleteCitation>")
    return "<PubmedArticleSet>" + "\n".join(parts) + "</PubmedArticleSet>"


def articles(count: int, *, first: int) -> list[tuple[int, str, str]]:
    """Articles of two or three sentences each, in combinations that rarely repeat."""
    combinations = islice(product(TEXTS, TEXTS, TEXTS), first % 100, None)
    return [
        (first + number, one, f"{two} {three}")
        for number, (one, two, three) in zip(range(count), combinations, strict=False)
    ]


def dump(number: int, *, documents: int = 20) -> bytes:
    """A gzip file of PubMed XML, with articles that depend on its number."""
    return gzip.compress(pubmed(articles(documents, first=1000 * number)).encode(), mtime=0)


def write_sources(folder: Path) -> list[Path]:
    """Three sound sources: PubMed with a bad record, a deletion and a revision; PubTator with an invalid annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second, third = folder / "pubmed30n0001.xml", folder / "pubmed30n0002.xml.gz", folder / "notes.pubtator"
    first.write_text(pubmed([*articles(9, first=100), (120, "", "")], bad=1))
    second.write_bytes(gzip.compress(pubmed(articles(7, first=105), deleted=[101]).encode(), mtime=0))
    third.write_text(
        "201|t|The patients had severe breast cancer.\n201|a|Aspirin caused renal failure and headache.\n"
        "201\t24\t37\tbreast cancer\tDisease\tD001\n201\t0\t5\tnever\tDisease\tD001\n\n"
        "202|t|No patients with rash.\n202|a|\n"
    )
    return [first, second, third]


def tables(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that does not depend on time."""
    queries = {name: f"FROM {name} ORDER BY ALL" for name in TABLES} | {"sources": f"{ACCOUNTS} ORDER BY ALL"}
    return {name: rows(home, text) for name, text in queries.items()}


def rows(home: Path, text: str) -> list[tuple[object, ...]]:
    """The answer to a query, lists as text so that rows can be compared."""
    answer = query_trusted(Home(home), text)  # in this process: another one for each query takes longer than most tests
    return [tuple(row.values()) for row in answer.to_pylist()]


def another(world: World, folder: Path) -> Path:
    """A model with the same knowledge but another version."""
    shutil.copytree(world.model, folder / "another")
    with (folder / "another" / "config.json").open("a") as file:
        file.write("\n")
    return folder / "another"


def by_one_worker(events: list[Callable[[], object]]) -> Callable[..., Outcome]:
    """Return a function that does the work of `annotate_on_pool` in this process; an event runs before each source."""

    def each(source: Source, **given: Any) -> Annotated:
        if events:
            events.pop()()
        return annotate_source(source, **given)

    def annotate(sources: list[Source], home: Home, *, model: str, mesh: str, **options: Any) -> Outcome:
        options = {name: given for name, given in options.items() if name not in ("settings", "queue")}
        folder, table = find_model(model, home=home), find_mesh(Path(mesh), home=home)
        versions = read_versions(folder, table)
        keep_vocabulary(home, table, mesh_version=versions.mesh)
        work = local_worker(home, model=folder, mesh=table, device="cpu", each=each)
        return run_sources(sources, home, versions=versions, options={}, work=work, **options)

    return annotate


def finished_files(home: Path) -> dict[str, bytes]:
    """The content of every Parquet file of a home."""
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("[!.]*.parquet"))}


def rows_of(path: Path) -> int:
    """Rows of a Parquet file."""
    return int(pq.read_metadata(path).num_rows)
