"""Every real file at once: each record becomes a document, a deletion or a failure, by an independent count."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path

from rich.console import Console

from e2emern.flows.annotate import IncompleteError, Outcome, annotate_sources
from e2emern.flows.cli.render import STATUS_LINES, print_status
from e2emern.model.inference.timings import Report
from e2emern.tasks.documents import parse_source
from e2emern.tasks.models import read_versions
from e2emern.tasks.sources import find_sources
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.parquet import TableWriter
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.schemas import FAILURES, MENTIONS
from e2emern.warehouse.sources.counts import ParseSummary
from tests.flows.world import World, articles, pubmed, rows

LATIN = "pt30_latin1.txt"
JOINED = "pt47_cat_plain.txt"  # two files in one line: two documents, or a failure at that line


def records(content: bytes, *, name: str) -> int:
    """Count the records of a file without our parsers: documents and deletions."""
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    if content.lstrip().startswith(b"<"):
        found = re.findall(rb"<(?:PubmedArticle|PubmedBookArticle|document)[\s>]", content)
        found = found or re.findall(rb"<MedlineCitation[\s>]", content)
        deletions = re.findall(rb"<DeleteCitation>.*?</DeleteCitation>", content, re.DOTALL)
        return len(found) + sum(block.count(b"<PMID") for block in deletions)
    if content.lstrip()[:1] in (b"{", b"["):
        return with_passages(json.loads(content))
    if content.startswith(b"PMID-"):
        return len(re.findall(rb"(?m)^PMID-", content))
    return len(re.findall(rb"\d\|t\|", content))


def with_passages(value: object) -> int:
    """Count the objects that are BioC documents, at any depth."""
    if isinstance(value, dict):
        return 1 if "passages" in value else sum(map(with_passages, value.values()))
    return sum(map(with_passages, value)) if isinstance(value, list) else 0


def parse_only(home: Home, paths: list[Path], versions: Versions) -> dict[str, ParseSummary]:
    """Parse files as `annotate` does, and store them as annotated without any mention."""
    make_home(home)
    parsed = {}
    for source in find_sources(paths, home=home):
        summary = parsed[source.key.name] = parse_source(source, home=home, report=Report())
        with TableWriter(home.unread(source.key, versions), FAILURES):
            pass
        metadata = summary.annotated(without_text=0, unread=0, carried=0).to_metadata()
        with TableWriter(home.mentions(source.key, versions), MENTIONS, metadata=metadata):
            pass
    return parsed


def annotate(home: Home, world: World, paths: list[Path]) -> Outcome:
    try:
        return annotate_sources(paths, home.root, model=world.model, mesh=world.mesh, device="cpu")
    except IncompleteError as error:
        return error.outcome


def status_lines(home: Home) -> list[str]:
    output = io.StringIO()
    print_status(status(home), console=Console(file=output))
    return output.getvalue().splitlines()


COUNTS = "SELECT source, parsed, documents, failed, deleted, invalid_annotations FROM sources"


def test_counts_of_small_files(world: World, tmp_path: Path) -> None:
    """The count of this test and the record counts of the tables are the same for every format."""
    folder, home = tmp_path / "in", Home(tmp_path / "home")
    folder.mkdir()
    passage = {"offset": 0, "infons": {"type": "title"}, "text": "Headache."}
    bioc = [{"id": "1", "passages": [passage]}, {"passages": [passage]}]
    (folder / "a.xml.gz").write_bytes(gzip.compress(pubmed(articles(3, first=1), deleted=[7, 8], bad=1).encode()))
    (folder / "b.json").write_text(json.dumps({"documents": bioc}))
    (folder / "c.txt").write_text("9|t|Headache.\n9|a|\n9\t90\t94\tnone\tDisease\tD005\n\n10|t|Rash.\n10|a|\n")
    versions = read_versions(world.model, world.mesh)
    parsed = parse_only(home, [folder / "b.json"], versions)
    assert (parsed["b.json"].documents, parsed["b.json"].unusable) == (1, 1)
    outcome = annotate(home, world, [folder])
    assert outcome.failed == {}
    assert sorted(rows(home.root, COUNTS)) == [
        ("a.xml.gz", 6, 3, 1, 2, 0),
        ("b.json", 2, 1, 1, 0, 0),
        ("c.txt", 2, 2, 0, 0, 1),
    ]
    assert [records(path.read_bytes(), name=path.name) for path in sorted(folder.iterdir())] == [6, 2, 2]
    assert len(status_lines(home)) <= STATUS_LINES


def test_every_dump_and_case_at_once(world: World, tmp_path: Path, shared_data: Path, shared_cases: Path) -> None:
    dumps = sorted(path for path in (shared_data / "dumps").glob("*/*") if path.is_file())
    small = sorted(path for path in shared_cases.iterdir() if path.name != "README.md")
    home = Home(tmp_path / "home")
    parse_only(home, dumps, read_versions(world.model, world.mesh))
    outcome = annotate(home, world, small)

    expected = {path.name: records(path.read_bytes(), name=path.name) for path in (*dumps, *small)}
    counts = {source: tuple(numbers) for source, *numbers in rows(home.root, COUNTS)}
    refused = {LATIN} & set(outcome.failed)
    assert set(outcome.failed) == refused
    assert set(counts) == set(expected) - refused
    for name, (parsed, documents, failed, deleted, _invalid) in counts.items():
        assert parsed == documents + failed + deleted, name
        if name != LATIN:
            assert parsed == expected[name], name
        assert failed == 0 or name in (LATIN, JOINED), name
    if LATIN in outcome.failed or counts[LATIN][1] < 3:
        reasons = " ".join(
            [*outcome.failed.values(), *(str(row[0]) for row in rows(home.root, "SELECT reason FROM failures"))]
        )
        assert re.search(r"utf-?8|latin|1252", reasons, re.IGNORECASE)
    assert rows(
        home.root, "SELECT kind, count(*) FROM invalid_annotations WHERE source = 'pt32_ptc_outside.txt' GROUP BY 1"
    ) == [("outside the text", len(re.findall(r"(?m)^201\t", (shared_cases / "pt32_ptc_outside.txt").read_text())))]
    lines = status_lines(home)
    assert len(lines) <= STATUS_LINES
    assert sum("invalid annotation" in line for line in lines) == 1
