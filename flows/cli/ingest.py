"""Fetch dump files: `ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.flows.cli.application import Examples, app
from e2emern.flows.cli.options import HomeFolder
from e2emern.warehouse.wording import plural

if TYPE_CHECKING:
    from e2emern.tasks.ingest import FileOutcome


@app.command(epilog="Example: e2emern ingest https://ftp.ncbi.nlm.nih.gov/pubmed/updatefiles/ --home /data/home")
def ingest(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Folders, or addresses of HTTP listings of files.")
    ],
    home: HomeFolder,
    pattern: Annotated[str, typer.Option(metavar="GLOB", help="Which files.")] = "*.xml.gz",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N files of each source, by name.")
    ] = None,
    max_gb: Annotated[float, typer.Option(metavar="GB", min=0.001, help="Largest file to fetch.")] = 10.0,
    check: Annotated[
        bool,
        typer.Option("--check", help="Fetch nothing; report missing and different files, and gaps."),
    ] = False,
    dumps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to fetch into.", show_default="dumps in the home")
    ] = None,
) -> None:
    """Fetch new and changed dump files for `annotate`, and verify them.

    Unchanged files are not fetched again; interrupted transfers are resumed. Exit code 0 means that every file
    is present and the same as at its source; with --check also that the numbers of the PubMed files have no gap.
    Exit code 1 means that something is missing.
    """
    from e2emern.flows.cli.progress import TerminalProgress
    from e2emern.tasks.ingest import Limits, find_gaps
    from e2emern.tasks.ingest import ingest as fetch

    folder = dumps or home.dumps
    listed = Examples()

    def log(outcome: FileOutcome) -> None:
        if outcome.outcome == "fetched":
            listed.add("fetched", f"{outcome.name}: fetched, {outcome.bytes / 1e6:,.1f} MB")
        elif outcome.outcome == "failed":
            listed.add("failed", f"{outcome.name}: {outcome.reason}")

    limits = Limits(largest=int(max_gb * 1e9))
    with TerminalProgress() as progress:
        outcomes = fetch(
            sources, folder, pattern=pattern, limit=limit, limits=limits, check=check, log=log, progress=progress
        )
    gaps = find_gaps(home, dumps=folder) if check else []
    for gap in gaps:
        listed.add("gaps", gap)
    listed.finish()
    fetched, unchanged, failed = (
        [one for one in outcomes if one.outcome == kind] for kind in ("fetched", "unchanged", "failed")
    )
    size = sum(one.bytes for one in fetched) / 1e6
    if check:
        counts = f"{len(unchanged):,} complete, {len(failed):,} missing or different, {plural(len(gaps), 'gap')}"
    else:
        counts = f"{len(fetched):,} fetched ({size:,.1f} MB), {len(unchanged):,} unchanged, {len(failed):,} failed"
    print(f"{folder}: {counts}")
    if failed or gaps:
        raise typer.Exit(1)
