"""The lock file pins what pyproject.toml asks for, and nothing that ties it to a machine."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = [
    line
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINNED = {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in LINES if "==" in line}
EXTRAS = PROJECT["project"]["optional-dependencies"]


def test_every_dependency_is_pinned_at_an_allowed_version() -> None:
    for wanted in [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"], *EXTRAS["dev"]]:
        requirement = Requirement(wanted)
        name = canonicalize_name(requirement.name)
        assert name in PINNED, f"{name} is not in requirements.lock: run `make lock`"
        assert PINNED[name] in requirement.specifier, f"{name} {PINNED[name]} is not {wanted}: run `make lock`"


def test_every_line_is_a_name_and_a_version() -> None:
    """No hosts, no local paths, no local versions such as 2.13.0+cpu."""
    assert [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


def test_the_cuda_wheels_are_not_pinned() -> None:
    """Only one of torch's two builds needs them; pip adds them where it is that one."""
    assert [name for name in PINNED if name.startswith("nvidia") or name == "triton"] == []


def test_training_and_peers_are_not_installed() -> None:
    names = {key: {canonicalize_name(Requirement(each).name) for each in wanted} for key, wanted in EXTRAS.items()}
    assert ((names["train"] | names["bench"]) - names["dev"]) & set(PINNED) == set()
