"""The state of a home as metrics in Prometheus' text format, for a textfile collector or an endpoint.

Times are Unix seconds, so that a scrape of old values still shows the age: `time() - e2emern_last_run_end_seconds`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest, write_to_textfile

from e2emern.flows.check_results import Result
from e2emern.tasks.evaluation.drift import Drift, read_drift
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import Status, status
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.sources.runs import RunRecord

# Run ids sort by time, and the batches of a night are runs that begin after it.
_LAST_RUN_SQL = """
SELECT count(*), coalesce(sum(documents), 0), coalesce(sum(mentions), 0), coalesce(sum(failed), 0)
FROM sources WHERE current AND last_run >= $run
"""


def read_metrics(home: Home, *, checks: Iterable[Result] = ()) -> CollectorRegistry:
    """Return the metrics of a home, and of the results of checks. Raises `WarehouseError` if it cannot be read."""
    metrics = _Metrics()
    state = status(home)
    metrics.add("info", "Release and versions, with value 1.", 1, release=version("e2emern"), **_versions(state))
    _add_snapshot(metrics, state)
    if state.last_run:
        _add_run(metrics, home, state.last_run, published=state.snapshot is not None)
    metrics.add("backlog_files", "Dump files that the tables do not show yet.", len(state.backlog))
    waiting = sum((home.dumps / name).stat().st_size for name in state.backlog)
    metrics.add("backlog_bytes", "Size of the dump files that the tables do not show yet.", waiting)
    disk = shutil.disk_usage(home.root)
    metrics.add("disk_free_bytes", "Free bytes of the file system of the home.", disk.free)
    metrics.add("disk_size_bytes", "Size of the file system of the home.", disk.total)
    for one in checks:
        metrics.add("check", "Result of a check: 0 ok, 1 warning, 2 error.", int(one.severity), check=one.check)
    if state.snapshot and (found := _drift(home, state.snapshot.number)):
        _add_drift(metrics, found)
    return metrics.registry


def metrics_text(home: Home) -> bytes:
    """Return the metrics of a home in Prometheus' text format."""
    return generate_latest(read_metrics(home))


def write_metrics(path: Path, home: Home, *, checks: Iterable[Result] = ()) -> None:
    """Write the metrics of a home into a file atomically, so that the collector never reads half of it."""
    write_to_textfile(str(path), read_metrics(home, checks=checks))


class _Metrics:
    """Gauges of one registry, each made at its first value."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def add(self, name: str, text: str, value: float, **labels: str) -> None:
        """Set a value of the gauge `e2emern_NAME`."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"e2emern_{name}", text, list(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)


def _versions(state: Status) -> Mapping[str, str]:
    snapshot = state.snapshot
    return {"model": snapshot.model_version, "mesh": snapshot.mesh_version} if snapshot else {"model": "", "mesh": ""}


def _add_snapshot(metrics: _Metrics, state: Status) -> None:
    """Add the counts of the current snapshot."""
    if (snapshot := state.snapshot) is None:
        return
    metrics.add("snapshot_created_seconds", "When the current snapshot was published.", snapshot.created.timestamp())
    metrics.add("snapshot_number", "Number of the current snapshot.", snapshot.number)
    for name in ("sources", "documents", "mentions", "concepts", "failures", "deletions"):
        metrics.add(f"snapshot_{name}", f"Number of {name} in the current snapshot.", getattr(snapshot, name))
    metrics.add("snapshot_linked_mentions", "Mentions with a concept in the current snapshot.", snapshot.linked)
    metrics.add("snapshot_damaged_sources", "Sources of which only the readable part is published.", snapshot.damaged)


def _add_run(metrics: _Metrics, home: Home, run: RunRecord, *, published: bool) -> None:
    """Add the figures of the last run; its rate is that of the whole run, including fetching and publishing."""
    began = datetime.fromisoformat(run.started).timestamp()
    metrics.add("last_run_start_seconds", "When the last run began.", began)
    metrics.add(
        "last_run_success", "1 if the last run ended without an error.", float(bool(run.finished and not run.error))
    )
    if published:
        with open_snapshot(home) as connection:
            (row,) = connection.execute(_LAST_RUN_SQL, {"run": run.run_id}).fetchall()
        for name, value in zip(("sources", "documents", "mentions", "failures"), row, strict=True):
            metrics.add(f"last_run_{name}", f"Number of {name} of the last run that the snapshot shows.", float(value))
    if run.finished:
        ended = datetime.fromisoformat(run.finished).timestamp()
        metrics.add("last_run_end_seconds", "When the last run ended.", ended)
        metrics.add("last_run_duration_seconds", "How long the last run took.", ended - began)
        if published and ended > began:
            metrics.add(
                "last_run_documents_per_second",
                "Documents of the last run per second.",
                float(row[1]) / (ended - began),
            )


def _add_drift(metrics: _Metrics, found: Drift) -> None:
    """Add the comparison of the last night with those before it."""
    metrics.add("drifted", "1 if a figure of the last night has drifted.", float(bool(found.drifted)))
    metrics.add("drift_nights", "Nights that the last one is compared with.", found.nights)
    for one in found.figures:
        label = one.name.replace(" ", "_")
        metrics.add(
            "drift_deviation", "Deviation of a figure of the last night from its usual value.", one.off, figure=label
        )
        metrics.add("drift_limit", "The largest normal deviation of a figure.", one.limit, figure=label)


@lru_cache(maxsize=8)
def _drift(home: Home, snapshot: int) -> Drift | None:
    """Return the drift of a home, read once for each snapshot: it reads the mentions of the last nights."""
    return read_drift(home)
