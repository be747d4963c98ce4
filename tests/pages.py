"""The commands that pages of docs/ print, for the tests that run them: a test runs the text of the page itself."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[list[str]]:
    """The blocks of commands of a page, a command a line."""
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    return [[line.strip() for line in found.splitlines()] for found in BLOCK.findall(text)]


def block(page: str, first: str) -> list[str]:
    """The commands of the block in which one begins with some words."""
    (lines,) = [lines for lines in blocks(page) if any(line.startswith(first) for line in lines)]
    return lines


def typed(page: str, command: str) -> str:
    """A command of a page, which must print exactly this text."""
    assert any(command in lines for lines in blocks(page)), f"docs/{page}.md does not have {command!r}"
    return command


def arguments(page: str, command: str) -> list[str]:
    """The words after `e2emern` of a command of a page."""
    program, *words = shlex.split(typed(page, command))
    assert program == "e2emern"
    return words


def taken_by_tests() -> Iterator[str]:
    """The commands that tests take from pages by `typed`, `arguments` or `block` with literals."""
    for file in sorted((ROOT / "tests").rglob("*.py")):
        yield from _taken(file)


def _taken(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2):
            continue
        values = [one.value for one in node.args if isinstance(one, ast.Constant)]
        if len(values) != 2 or not all(isinstance(one, str) for one in values):
            continue
        page, command = map(str, values)
        if node.func.id == "block":
            yield from block(page, command)
        elif node.func.id in ("typed", "arguments"):
            yield typed(page, command)
