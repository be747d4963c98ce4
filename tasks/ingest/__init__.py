"""Fetches dumps into a folder: from a local folder, or from an HTTP listing such as NLM's baseline and updatefiles.

A file takes its name only when it is whole and verified, so whoever reads the folder never sees a part of one. What is
there and unchanged is not fetched again; what changed at its origin is, and replaces the old file in one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks.errors import InputError
from tasks.ingest.download_folder import Shelf
from tasks.ingest.outcome import FileOutcome, Patience, Watch

__all__ = ["PATTERN", "FileOutcome", "Patience", "Watch", "ingest"]

PATTERN = "*.xml.gz"


def ingest(
    sources: Iterable[str],
    folder: Path,
    *,
    pattern: str = PATTERN,
    limit: int | None = None,
    patience: Patience | None = None,
    watch: Watch = lambda outcome: None,
) -> list[FileOutcome]:
    """Fetch the files of sources that match a pattern into a folder, and return what became of each.

    A source is a local folder, or the address of an HTTP(S) listing. `limit` is the number of files of each source, by
    name. Where a file has an `.md5` beside it, that is verified; where not, that gzip is whole. A source that cannot be
    listed is failed, and stops no other. Raises InputError where the folder cannot be used.
    """
    outcomes: list[FileOutcome] = []
    taken: set[str] = set()

    def log(outcome: FileOutcome) -> None:
        outcomes.append(outcome)
        watch(outcome)

    with Shelf(folder).opened() as shelf:
        for source in sources:
            try:
                if source.startswith(("http://", "https://")):
                    from tasks.ingest.http import fetch_listing

                    fetch_listing(
                        source,
                        shelf,
                        pattern=pattern,
                        limit=limit,
                        taken=taken,
                        patience=patience or Patience(),
                        watch=log,
                    )
                elif "://" in source:
                    raise InputError(f"{source}: expected a folder, or an http or https address of one")
                else:
                    from tasks.ingest.local import copy_folder

                    copy_folder(Path(source), shelf, pattern=pattern, limit=limit, taken=taken, watch=log)
            except InputError as error:
                log(FileOutcome(source, "failed", reason=str(error).removeprefix(f"{source}: ")))
    return outcomes
