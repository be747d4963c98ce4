"""Quote names, texts and file names for SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def file_list(files: Iterable[Path | str]) -> str:
    """Return an SQL list of file names, with the wildcards `*`, `?` and `[` escaped."""
    return "[" + ", ".join(literal(literal_path(path)) for path in files) + "]"


def literal_path(path: Path | str) -> str:
    """Return a pattern that matches this path only."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def literal(text: str) -> str:
    """Return a text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
