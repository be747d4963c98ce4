"""Whether a home is sound: `doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from warehouse.layout import Home
from warehouse.wording import counted

from .application import Folder, app, say


@app.command(epilog="Example: e2emern doctor --home home --repair")
def doctor(
    home: Folder,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what is safe to.")] = False,
) -> None:
    """Check every file of a home against what was published, and find what has no business there.

    Each finding begins with a code, which docs/doctor.md explains. Exit code 1 says that findings remain.
    """
    from warehouse.doctor import CODES, examine
    from warehouse.shelf import numbers

    findings = examine(Home(home), repair=repair)
    for finding in findings:
        done = f"; {finding.repaired}" if finding.repaired else ""
        print(f"{finding.code}  {finding.path}: {finding.what} ({CODES[finding.code]}){done}")
    remain = sum(finding.repaired is None for finding in findings)
    if not findings:
        say(f"{home} is sound" if numbers(Home(home)) else f"{home} is sound, and has no snapshot")
    else:
        advice = "see docs/doctor.md" if repair else "see docs/doctor.md, or try --repair"
        told = f"{counted(len(findings), 'finding')}, {len(findings) - remain:,} repaired"
        say(f"{told}; {advice}" if remain else told)
    if remain:
        raise typer.Exit(1)
