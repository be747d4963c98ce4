"""docs/architecture.md has one line for each module, and CONTRIBUTING.md names only files that exist."""

from __future__ import annotations

import re
from collections import Counter

from tests.conftest import ROOT
from tests.test_architecture import MODULES

LISTED = ("flows", "tasks", "model", "warehouse", "e2emern")


def line_of(module: str) -> str:
    """Return the name of a module on the page; a package is its folder."""
    return module.removesuffix("__init__.py")


def test_every_module_has_its_line_and_every_line_its_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = Counter(re.findall(r"^\| `([\w/.]+)` \| \S.* \|$", page.partition("\n## flows\n")[2], re.MULTILINE))
    modules = {line_of(path.as_posix()) for path in MODULES if path.parts[0] in LISTED}
    assert {name for name, count in listed.items() if count > 1} == set()
    assert modules - {*listed} == set(), "add a line for each to docs/architecture.md"
    assert {*listed} - modules == set(), "remove these lines from docs/architecture.md"


def test_the_data_path_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("\n## flows\n")[0]
    named = re.findall(rf"\b(?:{'|'.join(LISTED)})/[\w/.]*\w(?:\.py)?/?", page)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_contributing_names_files_that_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"\b((?:tests|docs|defaults|" + "|".join(LISTED) + r")/[\w/.-]+\.(?:py|md|toml))", page)
    assert named
    variable = ("FORMAT", "NAME")
    assert [name for name in named if not any(word in name for word in variable) and not (ROOT / name).exists()] == []
