"""Fetch dumps into a folder: from a local folder, or from an HTTP listing such as NLM's baseline and updatefiles.

A file gets its name only when it is complete and verified, so a reader of the folder never sees a partial file.
Unchanged files are not fetched again. A file that changed at its origin is fetched and replaced atomically.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from e2emern.model.progress import Progress, silent
from e2emern.tasks.errors import InputError
from e2emern.tasks.ingest.addresses import check_address, without_secrets
from e2emern.tasks.ingest.download_folder import DownloadFolder
from e2emern.tasks.ingest.gaps import find_gaps
from e2emern.tasks.ingest.local import copy_folder
from e2emern.tasks.ingest.outcome import FileOutcome, Limits, Log, RetryPolicy

__all__ = ["PATTERN", "FileOutcome", "Limits", "Log", "RetryPolicy", "find_gaps", "ingest"]

PATTERN = "*.xml.gz"


def ingest(
    sources: Iterable[str],
    folder: Path,
    *,
    pattern: str = PATTERN,
    limit: int | None = None,
    retry_policy: RetryPolicy | None = None,
    limits: Limits | None = None,
    check: bool = False,
    log: Log = lambda outcome: None,
    progress: Progress = silent,
) -> list[FileOutcome]:
    """Fetch the files of sources that match a pattern into a folder, and return the outcome of each.

    A source is a local folder, or the URL of an HTTP(S) listing. `limit` is the number of files per source, sorted by
    name. A file with a companion `.md5` is verified against it; any other is checked for truncation. A source that
    cannot be listed fails without stopping the others. With `check`, nothing is fetched, and each file that is missing
    or differs is an outcome `failed`. `log` is called with each outcome as soon as it is known; `progress` counts the
    files.
    Raises InputError if the folder cannot be used.
    """
    outcomes, taken, origins = list[FileOutcome](), set[str](), dict[str, str]()
    complete = limit is None and not check  # whether `origins` has all that the sources list

    def record(outcome: FileOutcome) -> None:
        outcomes.append(outcome)
        log(outcome)
        progress("files", len(outcomes), None)

    progress("files", 0, None)
    with DownloadFolder(folder, limits=limits or Limits()).opened() as downloads:
        for source in sources:
            shown = without_secrets(source)
            try:
                check_address(source)
                if source.startswith(("http://", "https://")):
                    from e2emern.tasks.ingest.http import fetch_listing

                    fetch_listing(
                        source,
                        downloads,
                        pattern=pattern,
                        limit=limit,
                        taken=taken,
                        retry_policy=retry_policy or RetryPolicy(),
                        log=record,
                        check=check,
                    )
                elif "://" in source:
                    raise InputError("expected a folder, or an http or https address of one", path=shown)
                else:
                    place = Path(source)
                    copy_folder(place, downloads, pattern=pattern, limit=limit, taken=taken, log=record, check=check)
            except InputError as error:
                complete = False
                record(FileOutcome(shown, "failed", reason=error.in_file))
            origins |= dict.fromkeys(taken - origins.keys(), shown)
        if complete:
            downloads.note_listed(origins)
    return outcomes
