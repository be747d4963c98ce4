"""Damage to a home made by real runs: repairs complete, and files are written again as docs/doctor.md says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from e2emern.flows.annotate import annotate_sources
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.snapshots.reader import current_sources
from tests.flows.world import World, articles, pubmed, rows

SHOWN = (
    "SELECT document_id, d.source, m.start, m.text, m.mesh_id, m.link_score "
    "FROM documents AS d LEFT JOIN mentions AS m USING (source, digest, record, document_id) ORDER BY ALL"
)


@pytest.fixture
def annotate(world: World, tmp_path: Path) -> Callable[[], Home]:
    """Annotate two dump files; each repeats texts of the other, so that the second reuses rows of the first."""
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for name, first in (("pubmed30n0001.xml", 100), ("pubmed30n0002.xml", 104), ("other.xml", 500)):
        (dumps / name).write_text(pubmed(articles(8, first=first)))

    def run() -> Home:
        annotate_sources([dumps], tmp_path / "home", model=world.model, mesh=world.mesh, device="cpu")
        return Home(tmp_path / "home")

    return run


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "table", "name"),
    [
        (flip, "documents", "pubmed30n0001"),  # the second reuses its rows
        (cut, "mentions", "pubmed30n0001"),
        (flip, "mentions", "pubmed30n0002"),
        (Path.unlink, "failures", "pubmed30n0002"),
    ],
)
def test_a_repair_completes_and_restores_the_tables(
    annotate: Callable[[], Home], damage: Callable[[Path], None], table: str, name: str
) -> None:
    home = annotate()
    assert sum(carried for (carried,) in rows(home.root, "SELECT carried FROM sources")) == 4  # type: ignore[misc]
    before, files = rows(home.root, SHOWN), contents(home)
    path = next((home.root / table).rglob(f"{name}*.parquet"))
    damage(path)
    [finding] = examine(home, repair=True)
    assert finding.code == ("missing-file" if damage is Path.unlink else "damaged-file")
    assert finding.repaired is not None
    annotate()
    assert [one.code for one in examine(home, repair=True)] in ([], ["quarantined"], ["quarantined"] * 2)
    assert examine(home) == []
    assert not any(path.is_file() for path in home.quarantine.rglob("*"))  # all of it was made again
    assert rows(home.root, SHOWN) == before
    again = contents(home)
    assert again.keys() == files.keys()
    differ = {name for name, content in again.items() if content != files[name]}
    assert all(name.startswith("mentions/") for name in differ)  # only these record what was reused
    annotate()
    assert examine(home) == []


def test_another_parser_reads_the_dump_files_again_and_mixes_no_rows(
    annotate: Callable[[], Home], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = annotate()
    before, files = rows(home.root, SHOWN), contents(home)
    assert status(home).parsers == {1: 3}
    (tmp_path / "dumps" / "other.xml").unlink()
    monkeypatch.setattr("e2emern.tasks.sources.PARSER", 2)
    monkeypatch.setattr("e2emern.tasks.documents.PARSER", 2)
    annotate()
    assert status(home).parsers == {1: 1, 2: 2}  # the dump file of one is gone: its rows stay
    assert {key.name: key.parser for key in current_sources(home)} == {
        "pubmed30n0001.xml": 2,
        "pubmed30n0002.xml": 2,
        "other.xml": 1,
    }
    assert rows(home.root, SHOWN) == before
    assert {name: files[name] for name in contents(home) if name in files} == files  # no file was changed
    asked = "SELECT source, documents, carried FROM sources WHERE digest LIKE '%-2' ORDER BY ALL"
    assert rows(home.root, asked) == [("pubmed30n0001.xml", 8, 8), ("pubmed30n0002.xml", 8, 8)]
    assert {reason for (reason,) in rows(home.root, "SELECT reason FROM superseded WHERE digest LIKE '%-1'")} == {
        "reissued"
    }
    assert examine(home) == []


def contents(home: Home) -> dict[str, bytes]:
    """The content of each Parquet file of a source."""
    return {
        path.relative_to(home.root).as_posix(): path.read_bytes()
        for folder in ("documents", "deletions", "failures", "mentions")
        for path in (home.root / folder).rglob("*.parquet")
    }


def test_files_whose_dump_file_is_lost_stay_in_quarantine(annotate: Callable[[], Home], tmp_path: Path) -> None:
    home = annotate()
    path = next(home.root.glob("documents/other*.parquet"))
    flip(path)
    shutil.move(tmp_path / "dumps" / "other.xml", tmp_path / "other.xml")
    assert [one.code for one in examine(home, repair=True)] == ["damaged-file"]
    assert (home.quarantine / "documents" / path.name).exists()
    shutil.move(tmp_path / "other.xml", tmp_path / "dumps" / "other.xml")
    annotate()
    assert {one.code for one in examine(home, repair=True)} == {"quarantined"}
    assert examine(home) == []
