"""Records of runs: which sources a run processed, when, and how long each stage took. One JSON file per run.

A record is written when a run begins and again when it ends, so a killed run leaves a record too. The order of runs
decides which of two files with the same name is newer (`warehouse.sources.history`). It is a sequence number, as in
Iceberg: a clock may be wrong.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write, is_locked, locked
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.sealed import seal, unseal

LONGEST_RUN: Final = timedelta(days=7)
FLOW_RUN: Final = "flow_run"
"""Option of a run that is one batch of another run: the Prefect flow run that started it."""

_CLOCK = timedelta(minutes=1)  # tolerance for clock corrections during a run
_SEQUENCE = re.compile(r"(\d{8})-")


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What a run did with one source: annotated, part, unchanged, damaged, failed ...; seconds by stage.

    A run with the outcome `part` has `written` so many of the `parts` of a large source, which other runs complete.
    """

    name: str
    digest: str
    outcome: str
    error: str | None = None
    written: int = 0
    parts: int = 0
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
    unchanged: int = 0  # number of further sources, which were done before
    error: str | None = None
    warning: str | None = None  # of the clock


def begin_run(
    runs: Sequence[RunRecord] = (),
    *,
    versions: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> RunRecord:
    """Return the record of a run that begins now, after `runs`, oldest first.

    Its id sorts after theirs, whatever the clocks of their hosts showed: it begins with a sequence number.
    """
    now = datetime.now(UTC)
    last = max((int(found[1]) for run in runs if (found := _SEQUENCE.match(run.run_id))), default=0)
    newest = max(runs, key=lambda run: datetime.fromisoformat(run.started), default=None)
    warning = None
    if newest and (behind := datetime.fromisoformat(newest.started) - now) > _CLOCK:
        warning = (
            f"the clock of {socket.gethostname()} is {timedelta(seconds=round(behind.total_seconds()))} behind run "
            f"{newest.run_id} of {newest.host}; correct the clock that is wrong"
        )
    return RunRecord(
        run_id=f"{last + 1:08d}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        started=now.isoformat(),
        host=socket.gethostname(),
        process=os.getpid(),
        versions=dict(versions or {}),
        options=dict(options or {}),
        warning=warning,
    )


def finish_run(run: RunRecord, *, error: str | None = None) -> RunRecord:
    """Return the record of a run that ends now, with this error or else that of the record."""
    return replace(run, finished=datetime.now(UTC).isoformat(), error=error or run.error)


def may_be_running(home: Home, run: RunRecord) -> bool:
    """Return whether a run may still be running, as far as this host can determine.

    A run on this host is running if its process exists and did not start after the run, which would be a reused process
    id. A run on another host, or on a system that does not report when a process started, is running while its claim is
    locked; if it has no claim or the file system has no locks, it counts as running for `LONGEST_RUN`.
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
    claim = home.run_claim(run.run_id)
    if claim.exists() and not is_locked(claim):
        return False
    return datetime.now(UTC) - started < LONGEST_RUN


@contextmanager
def claimed_run(home: Home, run: RunRecord) -> Iterator[None]:
    """Hold the claim of a run during the block, so that other hosts know whether it was killed."""
    with locked(home.run_claim(run.run_id), best_effort=True):
        yield


def end_killed(home: Home, runs: Iterable[RunRecord]) -> list[str]:
    """Record as killed every run that never ended and cannot still be running; return their ids."""
    killed = [run for run in runs if not (run.finished or run.error or may_be_running(home, run))]
    for run in killed:
        write_run(home, replace(run, error="killed: it never ended"))
        home.run_claim(run.run_id).unlink(missing_ok=True)
    return [run.run_id for run in killed]


def write_run(home: Home, run: RunRecord) -> None:
    """Write the record of a run, replacing an earlier one of the same run. Raises what `check_names` raises."""
    check_names({source.key for source in run.sources})
    make_home(home)
    sources = [{name: value for name, value in asdict(source).items() if value} for source in run.sources]
    with atomic_write(home.run(run.run_id)) as file:
        file.write(seal(asdict(replace(run, sources=())) | {"sources": sources}))


def check_names(keys: Iterable[SourceKey]) -> None:
    """Check that no two sources have the same name but different content: one would silently replace the other.

    No source is repeated. Raises `WarehouseError`.
    """
    names = Counter(key.name for key in keys)
    for name, count in names.items():
        if count > 1:
            raise WarehouseError(f"{count} inputs with different content are named {name}; give them different names")


def read_run(path: Path) -> RunRecord:
    """Return the record of one run. Raises `WarehouseError` if it is not as it was written."""
    try:
        fields = unseal(path.read_bytes())
        return RunRecord(sources=tuple(SourceOutcome(**source) for source in fields.pop("sources")), **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WarehouseError("is not a valid run record (e2emern doctor: damaged-run)", path=path) from error


def _process_start(process: int) -> datetime | None:
    """Return when a process started (Linux: proc_pid_stat(5), field 22, ticks since boot); None elsewhere."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return None
    return datetime.now(UTC) - timedelta(seconds=age_s)
