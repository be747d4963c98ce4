"""The commands about MeSH as a user sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from e2emern.flows.cli import app
from tests.flows.world import World, rows, write_sources
from tests.tasks.mesh.files import descriptor, descriptors, supplementary, supplements


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["mesh", *map(str, arguments)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two versions of MeSH."""
    years = {
        2025: [descriptor("D009369", "Neoplasms", ["C04"]), descriptor("D000001", "Old", ["D01"])],
        2026: [descriptor("D009369", "Tumors", ["C04"], ("Neoplasms", "N")), descriptor("X", "Bad", ["C05"])],
    }
    for year, records in years.items():
        desc, supp = tmp_path / f"desc{year}.xml", tmp_path / f"supp{year}.xml"
        desc.write_text(descriptors(*records))
        supp.write_text(supplements(supplementary("C000001", "Rare tumor", ["D009369"], scr_class="3")))
        assert run("import", desc, supp, "--home", tmp_path / "home").exit_code == 0
    return tmp_path / "home"


def test_import_and_list(home: Path, tmp_path: Path) -> None:
    again = run("import", tmp_path / "desc2026.xml", tmp_path / "supp2026.xml", "--home", home)
    failures = home / "entities" / "2026~failures.parquet"
    assert again.stderr == (
        f"e2emern: MeSH 2026 in {home}: 2 concepts with 3 names, as before; of 3 records, joined to others: 0, "
        f"neither disease nor chemical: 0, failed: 1 (see {failures})\n"
    )
    assert re.findall(r"\| (\d+) +\| +(\d+) \| +(\d+) \| +(\d+) \| +(\d+) \|", run("list", "--home", home).stdout) == [
        ("2025", "3", "2", "1", "3"),
        ("2026", "2", "2", "0", "3"),
    ]


def test_import_needs_a_place(tmp_path: Path) -> None:
    ended = run("import", tmp_path / "desc.xml", "--version", "v")
    assert ended.exit_code == 2
    assert "give --home, --output or both" in ended.stderr


def test_diff(home: Path) -> None:
    ended = run("diff", "2025", "2026", "--home", home, "--format", "json")
    assert [tuple(row.values()) for row in json.loads(ended.stdout)] == [
        ("retired", "D000001", "Old", None, 0),
        ("renamed", "D009369", "Neoplasms", "Tumors", 0),
    ]
    assert ended.stderr == (
        "e2emern: MeSH 2026 against 2025: 0 new (0 mentions), 1 retired (0 mentions), 0 replaced (0 mentions), "
        "0 merged (0 mentions), 1 renamed (0 mentions), 0 moved (0 mentions)\n"
    )


def test_relink_and_annotate_by_the_name_of_a_version(world: World, tmp_path: Path) -> None:
    from e2emern.flows.annotate import annotate_sources

    home = tmp_path / "home"
    write_sources(tmp_path / "in")
    annotate_sources([tmp_path / "in"], home, model=world.model, mesh=world.mesh, device="cpu")
    spoken = run("relink", "--home", home, "--mesh", "other", "--model", world.model)
    assert str(spoken.exception) == f"{home} has no vocabulary other, but tiny; import it first: e2emern mesh import"

    source = tmp_path / "desc2030.xml"
    source.write_text(
        descriptors(
            descriptor("D001", "Breast Neoplasms", ["C04.588"]).replace("D001<", "D001001<"),
            descriptor("D006006", "Aspirin", ["D02.455"]),
        )
    )
    assert run("import", source, "--home", home).exit_code == 0
    ended = run("relink", "--home", home, "--mesh", "2030", "--model", world.model, "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.startswith("MeSH tiny to 2030: 3 sources with ")
    assert "Snapshot 2 of " in ended.stdout
    assert ("D006006", "Aspirin") in rows(home, "SELECT DISTINCT mesh_id, mesh_name FROM mentions")
    outcome = annotate_sources([tmp_path / "in"], home, model=world.model, mesh=Path("2030"), device="cpu")
    assert outcome.versions.mesh == "2030"
    assert len(outcome.unchanged) == 3  # relinked, so that nothing is left to annotate
