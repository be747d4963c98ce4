"""Prefect artifacts and log lines: progress bars, a log line for each file, a table for each night, evaluations."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from e2emern.flows.annotate import Outcome
from e2emern.flows.log_errors import log_errors_as_lines
from e2emern.tasks.annotate import Annotated
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.evaluations import Judged, read_report
from e2emern.warehouse.wording import by_kind, plural

_NIGHT = ("documents", "mentions", "failures", "deletions", "invalid annotations")  # counts of a source
log_errors_as_lines()  # every deployed flow imports this module

_STEP_S = 2.0  # seconds between two updates of an artifact


def artifact_key(*words: str) -> str:
    """Return a key that Prefect allows: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


class ProgressArtifact:
    """A `Progress` that shows the stages of a job as one progress bar of the run, the artifact `progress-NAME`.

    If the server does not answer or somebody deleted the artifact, the job continues without showing its progress.
    Without `keep`, the artifact is deleted when the job has ended: a first load has more than a thousand files.
    """

    def __init__(self, name: str, *, keep: bool = True) -> None:
        self._name = name
        self._keep = keep
        self._artifact: UUID | None = None
        self._is_shown = True
        self._what = ""
        self._updated = 0.0

    def __enter__(self) -> ProgressArtifact:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._artifact and self._is_shown:
            if not self._keep:
                _delete(self._artifact)
            elif error is None:
                self._show(100.0, f"{self._name}: done")

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps are done, at most every two seconds."""
        if what == self._what and time.monotonic() - self._updated < _STEP_S:
            return
        self._what = what
        of = "" if total is None else f" of {total:,}"
        self._show(min(100.0 * done / total, 99.0) if total else 0.0, f"{self._name}: {done:,}{of} {what}")
        self._updated = time.monotonic()

    def _show(self, percent: float, description: str) -> None:
        if not self._is_shown:
            return
        try:
            if self._artifact is None:
                key = artifact_key("progress", self._name)
                created = create_progress_artifact(percent, key=key, description=description)
                self._artifact = cast(UUID, created)  # a coroutine only if called from one
            else:
                update_progress_artifact(self._artifact, percent, description=description)
        except (httpx.HTTPError, ObjectNotFound) as error:
            self._is_shown = False  # Prefect has retried for a minute
            get_run_logger().warning(f"{self._name}: its progress is shown no more ({type(error).__name__})")


def _delete(artifact: UUID) -> None:
    with suppress(httpx.HTTPError, ObjectNotFound), get_client(sync_client=True) as client:
        client.delete_artifact(artifact)


def log_annotated(done: Annotated, *, seconds: float) -> None:
    """Log the counts and the rate of one annotated source."""
    name, counts = done.summary.key.name, done.summary.counts
    get_run_logger().info(
        f"{name}: {plural(counts.documents, 'document')}, {plural(done.mentions, 'mention')}, "
        f"{plural(counts.failed, 'failure')}, {plural(counts.deleted, 'deletion')}, "
        f"{plural(counts.invalid_annotations, 'invalid annotation')} "
        f"in {seconds:,.1f} s ({counts.documents / max(seconds, 1e-9):,.1f} documents/s)"
    )


def show_night(outcome: Outcome, home: Home, *, fetched: dict[str, int], seconds: float) -> None:
    """Create the table of a night as an artifact of the run: a row for each source, and one for the total.

    Args:
        outcome: what was annotated.
        home: the home of the tables.
        fetched: how many files were fetched, unchanged, failed.
        seconds: wall-clock seconds of the night.
    """
    rows: list[dict[str, Any]] = [
        {
            "source": one.summary.key.name,
            "documents": (counts := one.summary.counts).documents,
            "mentions": one.mentions,
            "failures": counts.failed,
            "deletions": counts.deleted,
            "invalid annotations": counts.invalid_annotations,
            "state": ": ".join(filter(None, (one.summary.status, one.summary.error))),
        }
        for one in outcome.annotated
    ]
    total = {name: sum(row[name] for row in rows) for name in _NIGHT}
    rate = total["documents"] / max(seconds, 1e-9)
    rows += [{"source": name, "state": f"failed: {reason}"} for name, reason in outcome.failed.items()]
    rows.append({"source": f"all {len(rows):,}", **total, "state": f"{rate:,.1f} documents/s over {seconds:,.0f} s"})
    snapshot = outcome.snapshot
    files = ", ".join(f"{count:,} {kind}" for kind, count in fetched.items())
    invalid = by_kind(outcome.invalid_annotations(home).kinds)
    shown = (
        f"snapshot {snapshot.number} (`{home.snapshot(snapshot.number)}`): "
        f"{plural(snapshot.documents, 'document')}, {plural(snapshot.mentions, 'mention')}"
        if snapshot
        else "nothing was published"
    )
    create_table_artifact(
        rows,
        key=artifact_key("night", home.root.name),
        description=f"Dump files: {files}. {plural(len(outcome.unchanged), 'source')} done before. Now {shown}."
        + (f" Invalid annotations: {invalid}." if invalid else ""),
    )


def show_evaluation(home: Home, judged: Judged) -> None:
    """Show the report of an evaluation, which starts with the verdict of the gate, as an artifact of the run."""
    create_markdown_artifact(
        read_report(home, judged.evaluation),
        key=artifact_key("evaluation", home.root.name),
        description=f"model {judged.challenger} against {judged.champion or 'nothing'}",
    )
