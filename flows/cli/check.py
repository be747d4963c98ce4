"""Look for what would fail a night: `check`."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import AnyOptionalHome
from e2emern.warehouse.wording import plural

if TYPE_CHECKING:
    from e2emern.flows.check_results import Result


@app.command(epilog="Example: e2emern check --strict")
def check(
    home: AnyOptionalHome = None,
    local: Annotated[
        bool, typer.Option("--local", help="Check only this host, not the server and the sources.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings but no errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Check what a night needs: settings, home, disk, model, device, server, queues, deployments, workers.

    Prints a line for each check. Exit code 0 means no errors, though possibly warnings; 2 means errors.
    The settings are those of `e2emern worker` in this folder.
    """
    from e2emern.flows.installation import environment

    os.environ.update(environment(os.environ, folder=Path.cwd()))  # before Prefect is imported, which reads it
    from e2emern.flows.check import check_host
    from e2emern.flows.check_results import exit_code

    results = check_host(home.root.absolute() if home else None, online=not local)
    if not local:
        from e2emern.flows.check_server import check_server

        results += check_server()
    if as_json:
        print(json.dumps(_as_json(results), indent=1))
    else:
        _print(results)
    raise typer.Exit(exit_code(results, strict=strict))


def _print(results: list[Result]) -> None:
    width = max(len(one.check) for one in results)
    for one in results:
        advice = f"; {one.advice}" if one.advice else ""
        print(f"{one.severity.name.lower():<8}{one.check:<{width + 2}}{one.found}{advice}")
    counts = Counter(one.severity.name.lower() for one in results)
    if trouble := [plural(counts[kind], kind) for kind in ("error", "warning") if counts[kind]]:
        say(f"{', '.join(trouble)}; docs/operations.md explains each check")
    else:
        say(f"{plural(len(results), 'check')}, all is well")


def _as_json(results: list[Result]) -> dict[str, object]:
    from e2emern.flows.check_results import worst

    return {
        "host": socket.gethostname(),
        "release": version("e2emern"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "severity": worst(results).name.lower(),
        "checks": [
            {
                "check": one.check,
                "severity": one.severity.name.lower(),
                "found": one.found,
                "advice": one.advice or None,
            }
            for one in results
        ],
    }
