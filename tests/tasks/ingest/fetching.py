"""Shared by the tests of fetching: short time limits, files of random bytes, fetched and visible files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from e2emern.tasks.ingest import FileOutcome, RetryPolicy, ingest
from tests.tasks.ingest.serving import Site

HASTY = RetryPolicy(tries=4, first=0.01, longest=5.0, read_timeout=5.0)
ONE, TWO = "pubmed30n0001.xml.gz", "pubmed30n0002.xml.gz"


def packed(seed: int, *, size: int = 300_000) -> bytes:
    return gzip.compress(os.urandom(size // 2) + bytes([seed]) * (size // 2), compresslevel=1, mtime=0)


def fetch(site: Site, folder: Path, **options: object) -> list[FileOutcome]:
    return ingest([site.url], folder, retry_policy=HASTY, **options)  # type: ignore[arg-type]


def shown(folder: Path) -> dict[str, bytes]:
    """The files that a reader of the folder sees."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def parts(folder: Path) -> list[str]:
    return [path.name for path in (folder / ".ingest").iterdir() if ".part" in path.name]


def outcomes_by_name(outcomes: list[FileOutcome]) -> list[tuple[str, str]]:
    return sorted((one.name, one.outcome) for one in outcomes)
