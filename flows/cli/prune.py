"""Delete what the retention settings do not keep: `prune`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from e2emern.flows.cli.application import app
from e2emern.flows.cli.options import HomeFolder


@app.command(epilog="Example: e2emern prune --home home --dry-run")
def prune(
    home: HomeFolder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, but delete nothing.")
    ] = False,
) -> None:
    """Delete old snapshots and their files, abandoned mentions, retrainings, refused models, and dump files.

    The settings [retention] decide what is kept; they are those of `e2emern worker` in this folder.
    """
    from e2emern.flows.installation import environment
    from e2emern.flows.settings import read_settings
    from e2emern.tasks.retention import apply_retention, in_words

    os.environ.update(environment(os.environ, folder=Path.cwd()))
    settings = read_settings(home=home.root.absolute())
    lines = in_words(apply_retention(settings.home, settings.retention, dry=dry_run))
    for line in lines:
        print(f"{'would delete' if dry_run else 'deleted'} {line}")
    if not lines:
        print("nothing to delete")
