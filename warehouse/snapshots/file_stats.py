"""Facts recorded of every Parquet file that a snapshot names, by which damage is detected later."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.wording import one_line


class FileFacts(NamedTuple):  # faster to make than a dataclass, and a snapshot names five files for each source
    """Rows, bytes and SHA-256, in hex, of one Parquet file."""

    rows: int
    bytes: int
    sha256: str


def file_facts(path: Path) -> FileFacts:
    """Read a whole file and return its facts. Raises `WarehouseError` if it is absent or not a Parquet file."""
    try:
        with path.open("rb") as file:
            rows = pq.read_metadata(file).num_rows
            size = file.seek(0, 2)
            file.seek(0)
            return FileFacts(rows=rows, bytes=size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"cannot be read as Parquet: {one_line(error)}", path=path) from error


def check_facts(root: Path, path: str, *, known: Mapping[str, FileFacts]) -> None:
    """Compare a file with its known facts, if there are any. `path` is relative to the home.

    Raises `WarehouseError` if they differ, or the file is absent or not a Parquet file.
    """
    recorded = known.get(path)
    if recorded and file_facts(root / path) != recorded:
        raise WarehouseError("differs from what was published; see e2emern doctor (damaged-file)", path=root / path)


def file_sizes(root: Path, folders: Iterable[str]) -> dict[str, int]:
    """Return the bytes of the Parquet files in some folders. All paths are relative to the home."""
    sizes = {}
    for folder in folders:
        with suppress(FileNotFoundError), os.scandir(root / folder) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(".parquet") and name[0] != ".":
                    try:
                        sizes[f"{folder}/{name}"] = entry.stat().st_size
                    except FileNotFoundError:  # a broken link
                        continue
    return sizes


def folder_of(path: str) -> str:
    """Return the folder of a path relative to the home."""
    return path.rpartition("/")[0]


def recorded_facts(connection: duckdb.DuckDBPyConnection) -> dict[str, FileFacts]:
    """Return the facts of all files that an open snapshot names, by path relative to the home."""
    rows = connection.execute("SELECT DISTINCT path, rows, bytes, sha256 FROM files").fetchall()
    return {path: FileFacts(*of) for path, *of in rows}


def recorded_sizes(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the bytes of all files that an open snapshot names, by path relative to the home."""
    found = connection.execute("SELECT DISTINCT path, bytes FROM files").fetchnumpy()
    return dict(zip(found["path"].tolist(), found["bytes"].tolist(), strict=True))
