"""The record of one run: who met which source when, and how long each stage took. One JSON file a run.

Written when a run begins and again when it ends, so that a killed run is known too. The order of runs says
which of two files with one name is the newer.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from warehouse.errors import WarehouseError
from warehouse.files import atomic_write
from warehouse.layout import Home, SourceKey

LONGEST_RUN: Final = timedelta(days=7)
FLOW_RUN: Final = "flow_run"
"""The option of a run that is one batch of another: the flow run of Prefect that made it."""

_CLOCK = timedelta(minutes=1)  # by which the clock of the machine may be put right while a run goes on
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
    """One run. Times are ISO 8601 in UTC; `finished` is None while it runs and for ever after a kill."""

    run_id: str
    started: str
    host: str
    process: int | None = None  # its id on that host
    finished: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[SourceOutcome, ...] = ()
    error: str | None = None


def begin_run(*, versions: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None) -> RunRecord:
    """Returns the record of a run that begins now, with an id that sorts by time and no other run has."""
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
    """Returns the record of a run that ends now."""
    return replace(run, finished=datetime.now(UTC).isoformat(), error=error)


def may_be_running(run: RunRecord) -> bool:
    """Tells whether a run has not ended, as far as can be known here.

    On this host its process tells, unless that began after the run and only has the same id. A run of another host, or
    of a system that does not say when a process began, counts as running for `LONGEST_RUN`.
    """
    if run.finished or run.error:
        return False
    started = datetime.fromisoformat(run.started)
    if run.host == socket.gethostname() and run.process is not None:
        try:
            os.kill(run.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is there, and somebody else's
            pass
        if began := _began(run.process):
            return began < started + _CLOCK
    return datetime.now(UTC) - started < LONGEST_RUN


def write_run(home: Home, run: RunRecord) -> None:
    """Writes the record of a run, in place of an earlier one of the same run.

    Raises `WarehouseError` when two of its sources have one name but different content, since one of them
    would replace the other unseen.
    """
    names = Counter(name for name, _ in {(source.name, source.digest) for source in run.sources})
    for name, count in names.items():
        if count > 1:
            raise WarehouseError(f"{count} inputs with different content are named {name}; give them different names")
    sources = [{name: value for name, value in asdict(source).items() if value} for source in run.sources]
    with atomic_write(home.run(run.run_id)) as file:
        file.write(json.dumps(asdict(replace(run, sources=())) | {"sources": sources}).encode() + b"\n")


def read_runs(home: Home) -> list[RunRecord]:
    """Returns the records of all runs, oldest first. Raises `WarehouseError` for a file of another form."""
    return [read_run(path) for path in sorted(home.runs.glob("*.json"))]


def read_run(path: Path) -> RunRecord:
    """Returns the record of one run. Raises `WarehouseError` for a file of another form."""
    try:
        fields = json.loads(path.read_bytes())
        sources = tuple(
            _uneventful(**source) if len(source) == 3 else SourceOutcome(**source) for source in fields.pop("sources")
        )
        return RunRecord(sources=sources, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WarehouseError(f"{path} is no record of a run; move it away") from error


def _began(process: int) -> datetime | None:
    """When a process began, as Linux tells (proc_pid_stat(5), field 22: ticks since the machine started), else None."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return None
    return datetime.now(UTC) - timedelta(seconds=age_s)


@lru_cache(maxsize=100_000)
def _uneventful(name: str, digest: str, outcome: str) -> SourceOutcome:
    """One object for what run after run says alike: that a source is unchanged."""
    return SourceOutcome(name, digest, outcome)


def annotators(runs: Sequence[RunRecord], *, model_version: str, mesh_version: str) -> dict[SourceKey, str]:
    """Returns the run that annotated each source with one model and vocabulary. `runs` are in order of time.

    A run that was killed never said what it did: where a later one found the source done, it is the last that had
    begun it.
    """
    certain: dict[SourceKey, str] = {}
    begun: dict[SourceKey, str] = {}
    for run in runs:
        if (run.versions.get("model"), run.versions.get("mesh")) != (model_version, mesh_version):
            continue
        for source in run.sources:
            if source.outcome == "begun":
                begun[source.key] = run.run_id
            elif source.outcome == "unchanged" and source.key in begun:
                certain.setdefault(source.key, begun[source.key])
            elif source.outcome not in _NOT_DONE:
                certain[source.key] = run.run_id
    return begun | certain
