"""The commands that users run: those of README.md, and those of the systemd units in deploy/."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

INSTALLED_IN = "/opt/e2emern"
CONFIGURED_IN = "/etc/e2emern"


def readme_commands() -> list[str]:
    """The first block of commands under "Run it every night": server, deploy, worker, night."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"^## Run it every night\n+```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1].splitlines()


@dataclass(frozen=True)
class Unit:
    """What systemd starts for a unit, and the variables that the unit gives it."""

    command: list[str]
    variables: dict[str, str]


def read_unit(name: str, *, instance: str, configured_in: Path) -> Unit:
    """Read a unit of deploy/ as systemd does, with the project in this checkout and its settings in another folder."""
    lines = (ROOT / "deploy" / name).read_text("utf-8").replace("%i", instance)
    lines = lines.replace(INSTALLED_IN, str(ROOT)).replace(CONFIGURED_IN, str(configured_in))
    given = [line.split("=", 1) for line in lines.splitlines() if "=" in line and not line.startswith("#")]
    variables: dict[str, str] = {}
    for key, value in given:
        if key == "EnvironmentFile":
            variables |= read_variables(Path(value).read_text("utf-8"))
        elif key == "Environment":
            variables |= read_variables(value)
    (command,) = [value for key, value in given if key == "ExecStart"]
    filled = re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], command)
    return Unit(shlex.split(filled), variables)


def read_variables(text: str) -> dict[str, str]:
    """The variables of an EnvironmentFile."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
