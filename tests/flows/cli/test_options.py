"""The options that commands share, read without running a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from e2emern.flows.cli import app
from e2emern.warehouse.errors import NameRefusedError
from e2emern.warehouse.layout import Home

DEFAULTS = {"demo": Home(Path("demo")), "link": Home(Path("home")), "mesh import": None, "text": None, "check": None}
"""The commands that need no home."""


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if below := getattr(command, "commands", None):
        for name, each in below.items():
            yield from _commands(each, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(_commands(typer.main.get_command(app)))
WITH_HOME = [name for name, command in COMMANDS.items() if "home" in {each.name for each in command.params}]


def _read(name: str, *home: str) -> object:
    """Return the home that a command reads, with a value for everything else that it requires."""
    given = list(home)
    for each in COMMANDS[name].params:
        if each.required and each.name != "home":
            value = "jsonl" if each.name == "form" else "1"
            given += [each.opts[0], value] if each.param_type_name == "option" else [value]
    return COMMANDS[name].make_context(name, given).params["home"]


def test_these_commands_have_a_home() -> None:
    assert set(DEFAULTS) <= set(WITH_HOME)
    assert {"annotate", "ingest", "sql", "query top-concepts", "models show", "snapshots prune"} <= set(WITH_HOME)


@pytest.mark.parametrize("name", WITH_HOME)
def test_every_command_reads_its_home_in_one_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2EMERN_HOME", raising=False)
    assert _read(name, "--home", "some/where") == Home(Path("some/where"))
    if name in DEFAULTS:
        assert _read(name) == DEFAULTS[name]
    else:
        with pytest.raises(typer.BadParameter, match="home"):
            _read(name)
    monkeypatch.setenv("E2EMERN_HOME", "/data/home")
    assert _read(name) == Home(Path("/data/home"))
    assert _read(name, "--home", "other") == Home(Path("other"))
    with pytest.raises(NameRefusedError, match=r"^home '.*a\?b': its path must not contain"):
        _read(name, "--home", "a?b")


def test_a_home_prints_as_its_path() -> None:
    assert str(Home(Path("/data/home"))) == "/data/home"
