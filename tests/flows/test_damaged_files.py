"""Damaged files of a home: each command that reads one ends with one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import app
from e2emern.model.version import model_version
from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import add_model, promote
from tests.flows.world import World, write_sources

CUT, TEXT, LIST, FOREIGN = "cut", b"hello\n", b"[1]", b'{"a": [null]}'
STATUS, DRIFT, TRACE, TOP = ["status"], ["drift"], ["trace", "105"], ["query", "top-concepts"]
COMPARED, MESH = ["snapshots", "diff", "1", "2"], ["mesh", "diff", "tiny", "tiny"]


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion and two snapshots."""
    folder = tmp_path_factory.mktemp("damaged")
    sources, home = write_sources(folder / "in"), folder / "home"
    home.mkdir()
    version = model_version(world.model)
    add_model(Home(home), world.model, version=version)
    promote(Home(home), version, over=None, why="the first")
    annotate_sources(sources[:2], home, mesh=world.mesh, device="cpu")
    annotate_sources(sources, home, mesh=world.mesh, device="cpu")
    return home


@pytest.fixture
def restored(home: Path) -> Iterator[Path]:
    """The home; its files are as before when the test ends."""
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and not path.is_symlink()}
    yield home
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in files:
            path.unlink()
    for path, data in files.items():
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage", "commands", "named"),
    [
        ("documents/pubmed30n0001*", CUT, [STATUS, DRIFT, TRACE, COMPARED], "documents/pubmed30n0001.xml."),
        ("documents/pubmed30n0001*", b"", [STATUS], "documents/pubmed30n0001.xml."),
        ("mentions/*/notes*", CUT, [TOP], "notes.pubtator."),
        ("failures/*/notes*", TEXT, [STATUS], "notes.pubtator."),
        ("entities/tiny.parquet", CUT, [DRIFT, MESH, ["mesh", "list"], TOP], "entities/tiny.parquet"),
        ("snapshots/2.duckdb", CUT, [STATUS, ["snapshots", "list"]], "snapshots/2.duckdb"),
        ("snapshots/2.duckdb", TEXT, [TOP], "snapshots/2.duckdb"),
        ("models/champion.json", LIST, [["models", "list"]], "models/champion.json"),
        ("models/champion.json", CUT, [["models", "list"], ["models", "rollback"]], "models/champion.json"),
        ("models/*/added.json", LIST, [["models", "list"]], "added.json is not a valid record"),
        ("models/*/added.json", FOREIGN, [["models", "list"]], "added.json is not a valid record"),
        ("models/*/added.json", TEXT, [["models", "list"]], "added.json is not a valid record"),
        ("models/*/config.json", LIST, [["annotate", "SOURCE"]], "is not the file that was added"),
        ("models/*/model.safetensors", CUT, [["annotate", "SOURCE"]], "is not the file that was added"),
        ("models/*/tokenizer.json", LIST, [["annotate", "SOURCE"]], "is not the file that was added"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line(
    restored: Path, tmp_path: Path, file: str, damage: bytes | str, commands: list[list[str]], named: str
) -> None:
    path = next(restored.glob(file))
    data = path.read_bytes()
    (tmp_path / "new.pubtator").write_text("301|t|No patients with rash.\n301|a|\n")
    path.write_bytes(data[: len(data) // 2] if isinstance(damage, str) else damage)
    for command in commands:
        words = [str(tmp_path / "new.pubtator") if word == "SOURCE" else word for word in command]
        words += ["--mesh", "tiny", "--device", "cpu"] if command[0] == "annotate" else []
        ended = CliRunner().invoke(app, [*words, "--home", str(restored)])
        assert isinstance(ended.exception, InputError | WarehouseError), (command, ended.exception)
        assert named in str(ended.exception), command
        assert "\n" not in str(ended.exception), command


def test_every_command_refuses_a_home_of_another_format(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.format.write_text('{"home": "e2emern/9", "format": 9}')
    asked = 0
    for words, command in _commands([], get_command(app)):
        if words in (["doctor"], ["check"]) or not any("--home" in option.opts for option in command.params):
            continue
        ended = CliRunner().invoke(app, [*words, "--home", str(tmp_path)])
        assert isinstance(ended.exception, WarehouseError), words
        assert str(ended.exception) == (
            f"{tmp_path} has format 9, of newer releases; this one reads 3: update e2emern, or use another home"
        )
        asked += 1
    assert asked > 25
    assert [path.name for path in tmp_path.iterdir()] == ["format.json"]
    ended = CliRunner().invoke(app, ["doctor", "--repair", "--home", str(tmp_path)])
    assert "has format 9" in str(ended.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["format.json"]


def _commands(words: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
    """Every command with the words that name it."""
    for name, sub in getattr(command, "commands", {}).items():
        yield from _commands([*words, name], sub)
    if not hasattr(command, "commands"):
        yield words, command
