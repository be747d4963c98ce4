"""Fetches dumps into the home of their tables, ready for `annotate`: `tasks.ingest` as a flow."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks import ingest as fetching
from tasks.errors import InputError
from tasks.ingest import PATTERN, FileOutcome
from warehouse.layout import Home


@flow(name="ingest", flow_run_name="ingest into {home}", persist_result=False)
def ingest(sources: list[str], home: Path, pattern: str = PATTERN, limit: int | None = None) -> list[FileOutcome]:
    """Fetch the dumps of local folders and HTTP listings that are new or changed into `<home>/dumps`.

    Fails, after all others are fetched, where some could not be.

    Args:
        sources: folders, or addresses of HTTP listings.
        home: folder of the tables.
        pattern: which files of a source.
        limit: how many files of each source, by name; all without it.
    """
    outcomes = fetching.ingest(sources, Home(home).dumps, pattern=pattern, limit=limit)
    failed = [f"{one.name}: {one.reason}" for one in outcomes if one.outcome == "failed"]
    if failed:
        raise InputError("; ".join(failed))
    return outcomes
