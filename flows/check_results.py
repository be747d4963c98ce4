"""The results of checks: what was found, how much it matters, and what to do about it.

A check that raises an exception has failed with its message, so one fault does not hide the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from e2emern.tasks.errors import InputError
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.wording import one_line

RUNBOOK = "docs/operations.md#the-preflight"


class Severity(IntEnum):
    """How much the result of a check matters; a warning never fails a night by itself."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a check found, and what to do about it unless all is well."""

    check: str = ""
    severity: Severity
    found: str
    advice: str = ""

    @property
    def line(self) -> str:
        """The name of the check, what it found, and what to do."""
        return f"{self.check}: {self.found}" + (f"; {self.advice}" if self.advice else "")


def ok(found: str) -> Result:
    """Return that all is well."""
    return Result(severity=Severity.OK, found=found)


def warning(found: str, advice: str) -> Result:
    """Return a problem that needs attention."""
    return Result(severity=Severity.WARNING, found=found, advice=advice)


def error(found: str, advice: str) -> Result:
    """Return a problem that makes a night fail."""
    return Result(severity=Severity.ERROR, found=found, advice=advice)


def run_checks(checks: Mapping[str, Callable[[Any], Result]], given: Any) -> list[Result]:
    """Return the result of each check, in order; an exception that the project or the system raises is an error."""
    results = []
    for name, check in checks.items():
        try:
            result = check(given)
        except (InputError, WarehouseError, OSError) as failure:
            result = error(one_line(failure), f"see {RUNBOOK}")
        results.append(replace(result, check=name))
    return results


def worst(results: Iterable[Result]) -> Severity:
    """Return the greatest severity of the results."""
    return max((result.severity for result in results), default=Severity.OK)


def exit_code(results: Iterable[Result], *, strict: bool) -> int:
    """Return 2 if there are errors, 1 if there are warnings and `strict` asks for them, and else 0."""
    found = worst(results)
    return 0 if found == Severity.WARNING and not strict else int(found)
