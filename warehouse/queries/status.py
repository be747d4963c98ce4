"""Summarize the content and state of a home."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from e2emern.warehouse.layout import CHECKSUMS, Home, file_name
from e2emern.warehouse.queries import library
from e2emern.warehouse.registry.corrections import pending_corrections
from e2emern.warehouse.registry.models import champion
from e2emern.warehouse.snapshots.reader import Snapshot, describe, open_snapshot
from e2emern.warehouse.snapshots.refs import current_number
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.sources.runs import FLOW_RUN, RunRecord, read_run

_INVALID_SQL = "SELECT kind, count(*) AS number FROM invalid_annotations GROUP BY kind ORDER BY number DESC, kind"

_ONLY_IN_SQL = """
CREATE TEMP TABLE failures AS FROM warehouse.main.failures WHERE list_contains($sources, source)
"""  # in front of the view of this name

_PARSERS_SQL = """
SELECT CAST(split_part(digest, '-', 2) AS INTEGER) AS parser, count(*) AS number
FROM sources WHERE current AND contains(digest, '-') GROUP BY parser ORDER BY parser
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a home. `snapshot` is None before the first publish, `last_run` before the first run.

    Attributes:
        last_run: the last run that was not a batch of another run.
        champion: the model that annotates by default; None for the bundled model.
        backlog: names of dump files of the home whose present content the snapshot's model has not annotated.
    """

    last_run: RunRecord | None
    snapshot: Snapshot | None
    champion: str | None
    backlog: tuple[str, ...]
    failures: dict[str, int]  # by reason, most frequent first; repeated reasons without numbers and quotes
    invalid_annotations: dict[str, int]  # by kind, most frequent first; in the documents shown
    damaged: dict[str, str]  # source -> what is damaged
    pending_corrections: tuple[str, ...]  # files that no retraining has used
    parsers: dict[int, int]  # version of the parser -> number of shown sources that it read

    @property
    def linked_share(self) -> float:
        """Share of mentions with a concept, 0 without mentions."""
        if self.snapshot is None or self.snapshot.mentions == 0:
            return 0.0
        return self.snapshot.linked / self.snapshot.mentions


def status(home: Home) -> Status:
    """Return the state of a home. Raises `WarehouseError` if it does not exist or its snapshot cannot be opened."""
    home.check()
    history = read_history(home)
    runs = history.runs
    last = next((run for run in reversed(runs) if FLOW_RUN not in run.options), None)
    snapshot: Snapshot | None = None
    failures: dict[str, int] = {}
    invalid: dict[str, int] = {}
    damaged: dict[str, str] = {}
    parsers: dict[int, int] = {}
    if current_number(home) is not None:
        with open_snapshot(home) as connection:
            snapshot = describe(home, connection)
            failures = _by_reason(connection)
            (recorded,) = connection.execute("SELECT sum(invalid_annotations) FROM sources WHERE current").fetchall()[0]
            if recorded:  # most homes have none, and then no file is read
                invalid = dict(connection.execute(_INVALID_SQL).fetchall())
            damaged = dict(
                connection.execute(
                    "SELECT source, coalesce(error, '') FROM sources WHERE current AND status = 'damaged' ORDER BY rank"
                ).fetchall()
            )
            parsers = dict(connection.execute(_PARSERS_SQL).fetchall())
    return Status(
        last_run=last and read_run(home.run(last.run_id)),  # with its sources
        snapshot=snapshot,
        champion=champion(home),
        backlog=tuple(backlog(home, snapshot, withdrawn=history.withdrawn_by)),
        failures=failures,
        invalid_annotations=invalid,
        damaged=damaged,
        pending_corrections=tuple(pending_corrections(home)),
        parsers=parsers,
    )


def failures_in(home: Home, sources: Collection[str]) -> dict[str, int]:
    """Return the failures in sources of the current snapshot by reason, as `Status.failures`.

    Raises `WarehouseError` without a snapshot that can be opened.
    """
    with open_snapshot(home) as connection:
        connection.execute(_ONLY_IN_SQL, {"sources": list(sources)})
        return _by_reason(connection)


def _by_reason(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = connection.execute(library()["failures"].sql).fetchall()
    return {kind if number > 1 else example["reason"]: number for kind, number, _sources, example in rows}


def backlog(home: Home, snapshot: Snapshot | None, *, withdrawn: Collection[str]) -> list[str]:
    """Return the dump files modified after all mentions files of their name; their content is not read.

    Files that were `withdrawn` are not in the backlog.
    """
    done: dict[str, float] = {}
    if snapshot is not None:
        for file, modified in _modified(home.mentions_folder(snapshot.versions)):
            if file.endswith(".parquet"):
                name, _digest, _suffix = file.rsplit(".", 2)
                done[name] = max(done.get(name, 0.0), modified)
    waiting = (name for name, modified in _modified(home.dumps) if modified > done.get(file_name(name), 0.0))
    return sorted(name for name in waiting if name not in withdrawn and not name.endswith(tuple(CHECKSUMS)))


def _modified(folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the name and the modification time of each file of a folder that is not hidden."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and not entry.name.startswith("."):
                yield entry.name, entry.stat().st_mtime
