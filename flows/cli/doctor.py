"""Check a home: `doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from e2emern.flows.cli.application import Examples, app, say
from e2emern.flows.cli.options import AnyHome
from e2emern.warehouse.wording import MOST_EXAMPLES, plural


@app.command(epilog="Example: e2emern doctor --home home --repair")
def doctor(
    home: AnyHome,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired safely.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="List every finding, not only the first ten of each code.")
    ] = False,
) -> None:
    """Check every file of a home against what was published, and find files that do not belong there.

    Each finding begins with a code, which docs/doctor.md explains. Exit code 1 means that findings remain.
    """
    from e2emern.warehouse.doctor import CODES, examine
    from e2emern.warehouse.snapshots.refs import numbers

    findings = examine(home, repair=repair)
    listed = Examples(print, most=None if everything else MOST_EXAMPLES)
    for finding in findings:
        done = f"; {finding.repaired}" if finding.repaired else ""
        listed.add(finding.code, f"{finding.code}  {finding.path}: {finding.what} ({CODES[finding.code]}){done}")
    listed.finish()
    remain = sum(finding.repaired is None for finding in findings)
    if not findings:
        say(f"{home} is sound" if numbers(home) else f"{home} is sound, but has no snapshot")
    else:
        advice = "see docs/doctor.md" if repair else "see docs/doctor.md, or try --repair"
        summary = f"{plural(len(findings), 'finding')}, {len(findings) - remain:,} repaired"
        say(f"{summary}; {advice}" if remain else summary)
    if remain:
        raise typer.Exit(1)
