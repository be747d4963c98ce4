"""Records of runs: which sources a run processed, when, and how long each stage took. One JSON file per run.

A record is written when a run begins and again when it ends, so a killed run leaves a record too. The order of runs
decides which of two files with the same name is newer.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from warehouse.errors import WarehouseError
from warehouse.files import atomic_write
from warehouse.layout import Home, SourceKey, Versions

LONGEST_RUN: Final = timedelta(days=7)
FLOW_RUN: Final = "flow_run"
"""Option of a run that is one batch of another run: the Prefect flow run that started it."""

_CLOCK = timedelta(minutes=1)  # tolerance for clock corrections during a run
_NOT_DONE = ("unchanged", "failed", "not reached")


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What a run did with one source: annotated, unchanged, damaged, failed ...; seconds by stage."""

    name: str
    digest: str
    outcome: str
    error: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> SourceKey:
        """The source."""
        return SourceKey(self.name, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run. Times are ISO 8601 in UTC; `finished` is None while it runs, and stays None after a kill."""

    run_id: str
    started: str
    host: str
    process: int | None = None  # process id on that host
    finished: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[SourceOutcome, ...] = ()
    error: str | None = None


def begin_run(*, versions: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None) -> RunRecord:
    """Return the record of a run that begins now. Its id is unique and sorts by time."""
    now = datetime.now(UTC)
    return RunRecord(
        run_id=f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}",
        started=now.isoformat(),
        host=socket.gethostname(),
        process=os.getpid(),
        versions=dict(versions or {}),
        options=dict(options or {}),
    )


def finish_run(run: RunRecord, *, error: str | None = None) -> RunRecord:
    """Return the record of a run that ends now, with this error or else that of the record."""
    return replace(run, finished=datetime.now(UTC).isoformat(), error=error or run.error)


@contextmanager
def recorded_run(
    home: Home,
    keys: Iterable[SourceKey],
    versions: Versions,
    *,
    options: Mapping[str, Any],
    with_outcomes: Callable[[RunRecord], RunRecord],
) -> Iterator[None]:
    """Record a run with its sources before the block, and with their outcomes after it, also if an exception ends it.

    Args:
        home: home of the run.
        keys: sources of the run.
        versions: versions of the model and of MeSH.
        options: options of the run.
        with_outcomes: adds to the record what the run did so far, with an error if there is one.

    Raises:
        WarehouseError: two sources have the same name but different content.
    """
    begun = tuple(SourceOutcome(name=key.name, digest=key.digest, outcome="begun") for key in keys)
    run = begin_run(versions={"e2emern": version("e2emern"), **asdict(versions)}, options=options)
    run = replace(run, sources=begun)
    write_run(home, run)
    try:
        yield
    except BaseException as error:
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        write_run(home, finish_run(with_outcomes(run), error=message))
        raise
    write_run(home, finish_run(with_outcomes(run)))


def may_be_running(run: RunRecord) -> bool:
    """Return whether a run may still be running, as far as this host can determine.

    A run on this host is running if its process exists and did not start after the run, which would be a reused process
    id. A run on another host, or on a system that does not report when a process started, counts as running for
    `LONGEST_RUN`.
    """
    if run.finished or run.error:
        return False
    started = datetime.fromisoformat(run.started)
    if run.host == socket.gethostname() and run.process is not None:
        try:
            os.kill(run.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it exists and belongs to another user
            pass
        if began := _process_start(run.process):
            return began < started + _CLOCK
    return datetime.now(UTC) - started < LONGEST_RUN


def write_run(home: Home, run: RunRecord) -> None:
    """Write the record of a run, replacing an earlier one of the same run.

    Raises `WarehouseError` if two of its sources have the same name but different content: one would silently replace
    the other.
    """
    names = Counter(name for name, _ in {(source.name, source.digest) for source in run.sources})
    for name, count in names.items():
        if count > 1:
            raise WarehouseError(f"{count} inputs with different content are named {name}; give them different names")
    sources = [{name: value for name, value in asdict(source).items() if value} for source in run.sources]
    with atomic_write(home.run(run.run_id)) as file:
        file.write(json.dumps(asdict(replace(run, sources=())) | {"sources": sources}).encode() + b"\n")


def read_runs(home: Home) -> list[RunRecord]:
    """Return the records of all runs, oldest first. Raises `WarehouseError` for a malformed file."""
    return [read_run(path) for path in sorted(home.runs.glob("*.json"))]


def read_run(path: Path) -> RunRecord:
    """Return the record of one run. Raises `WarehouseError` for a malformed file."""
    try:
        fields = json.loads(path.read_bytes())
        sources = tuple(
            _uneventful(**source) if len(source) == 3 else SourceOutcome(**source) for source in fields.pop("sources")
        )
        return RunRecord(sources=sources, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WarehouseError(f"{path} is not a valid run record; move it away") from error


def _process_start(process: int) -> datetime | None:
    """Return when a process started (Linux: proc_pid_stat(5), field 22, ticks since boot); None elsewhere."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return None
    return datetime.now(UTC) - timedelta(seconds=age_s)


@lru_cache(maxsize=100_000)
def _uneventful(name: str, digest: str, outcome: str) -> SourceOutcome:
    """Return a shared object for an outcome that most runs repeat: the source is unchanged."""
    return SourceOutcome(name, digest, outcome)


def annotators(runs: Sequence[RunRecord], versions: Versions) -> dict[SourceKey, str]:
    """Return the run that annotated each source with one model and vocabulary. `runs` are in order of time.

    A killed run did not record its outcome. If a later run found the source done, the last run that began it counts.
    """
    certain: dict[SourceKey, str] = {}
    begun: dict[SourceKey, str] = {}
    for run in runs:
        if (run.versions.get("model"), run.versions.get("mesh")) != (versions.model, versions.mesh):
            continue
        for source in run.sources:
            if source.outcome == "begun":
                begun[source.key] = run.run_id
            elif source.outcome == "unchanged" and source.key in begun:
                certain.setdefault(source.key, begun[source.key])
            elif source.outcome not in _NOT_DONE:
                certain[source.key] = run.run_id
    return begun | certain
