"""What the doctor finds: a code, a path and what is wrong, with the repair if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2emern.warehouse.doctor_repairs import Repair
from e2emern.warehouse.layout import Home
from e2emern.warehouse.unreadable import unreadable
from e2emern.warehouse.wording import one_line


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem in a home. A `path` inside the home is relative to it; `repaired` describes the repair."""

    code: str
    path: str
    what: str
    repaired: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A finding with its repair, None if it is not repaired."""

    finding: Finding
    repair: Repair | None = None


def case(home: Home, code: str, path: Path, what: str, fix: Repair | None = None) -> Case:
    """Return the case of a problem with a path in the home."""
    return Case(Finding(code, relative(home, path), what), fix)


def unreadable_case(home: Home, path: Path, error: Exception) -> Case:
    """Return the case of a file that cannot be read now."""
    return case(home, "unreadable", path, unreadable(error) or one_line(error))


def relative(home: Home, path: Path) -> str:
    """Return a path as text, relative to the home if it is inside."""
    return (path.relative_to(home.root) if path.is_relative_to(home.root) else path).as_posix()
