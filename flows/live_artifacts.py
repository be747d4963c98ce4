"""Artifacts of a run that change while it runs: progress bars, tables, the learning curve of a training.

If the server does not answer or somebody deleted an artifact, the job continues without showing it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from e2emern.flows.artifacts import artifact_key
from e2emern.flows.batches import read_work
from e2emern.flows.stages import Stage
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import read_curve
from e2emern.warehouse.wording import duration, plural

if TYPE_CHECKING:
    from e2emern.model.training.train import Progress

_STEP_S = 2.0  # seconds between two updates of an artifact
_WORKERS_S = 30.0  # seconds between two updates of the table of workers


class _Live:
    """An artifact that is created once and then updated, as long as the server answers."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._artifact: UUID | None = None
        self._is_shown = True

    def _show(self, create: Callable[[], object], update: Callable[[UUID], object]) -> None:
        if not self._is_shown:
            return
        try:
            if self._artifact is None:
                self._artifact = cast(UUID, create())  # a coroutine only if called from one
            else:
                update(self._artifact)
        except (httpx.HTTPError, ObjectNotFound) as error:
            self._is_shown = False  # Prefect has retried for a minute
            get_run_logger().warning(f"{self._name}: its progress is no longer shown ({type(error).__name__})")


class ProgressArtifact(_Live):
    """A `Progress` that shows the stages of a job as one progress bar of the run, the artifact `progress-NAME`.

    Its description has the rate and the time left. Without `keep`, the artifact is deleted when the job has ended: a
    first load has more than a thousand files.

    Args:
        where: start of the description, for example the host and the device; by default the name.
    """

    def __init__(
        self, name: str, *, keep: bool = True, where: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(name)
        self._keep = keep
        self._where = where or name
        self._clock = clock
        self._stage: Stage | None = None
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
                self._show_bar(100.0, "done")

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps are done, at most every two seconds."""
        now = self._clock()
        if self._stage is None or not self._stage.continues(what, done):
            self._stage = Stage(what, done, now)
        elif now - self._updated < _STEP_S:
            return
        self._show_bar(min(100.0 * done / total, 99.0) if total else 0.0, self._stage.describe(done, total, now=now))
        self._updated = now

    def _show_bar(self, percent: float, text: str) -> None:
        description = f"{self._where}: {text}"
        self._show(
            lambda: create_progress_artifact(
                percent, key=artifact_key("progress", self._name), description=description
            ),
            lambda artifact: update_progress_artifact(artifact, percent, description=description),
        )


class LiveTable(_Live):
    """A table of the run that is replaced each time it is shown."""

    def show(self, rows: Sequence[dict[str, Any]], description: str) -> None:
        """Show these rows; its name is the key of the artifact."""
        self._show(
            lambda: create_table_artifact(list(rows), key=self._name, description=description),
            lambda artifact: _update_table(artifact, rows, description),
        )


def _update_table(artifact: UUID, rows: Sequence[dict[str, Any]], description: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_artifact(artifact, ArtifactUpdate(data=json.dumps(list(rows)), description=description))


def _delete(artifact: UUID) -> None:
    with suppress(httpx.HTTPError, ObjectNotFound), get_client(sync_client=True) as client:
        client.delete_artifact(artifact)


class Workers:
    """A table of the workers that annotate the batches of a run: host and device, batch, file, rate and time left."""

    def __init__(self, key: str) -> None:
        self._table = LiveTable(key)
        self._updated = -math.inf

    def show(self, client: SyncPrefectClient, batches: Sequence[FlowRun]) -> None:
        """Show the work of the running batches, updated at most twice a minute. Without a server, nothing is shown."""
        now = time.monotonic()
        if now - self._updated < _WORKERS_S:
            return
        self._updated = now
        running = {str(one.id): one.name for one in batches if one.state_type == StateType.RUNNING}
        with suppress(httpx.HTTPError):
            rows = read_work(client, running) if running else []
            self._table.show(rows, f"{len(running):,} of {len(batches):,} remaining batches are running")


class LearningCurve:
    """Watch a training: a bar of its steps, and a table of its losses and scores, `training-HOME`.

    The table has a row for each report of the training, the last one of an epoch with the F1 on dev.
    """

    def __init__(self, home: Home, model: Path) -> None:
        self._model = model
        self._bar = ProgressArtifact("training")
        self._table = LiveTable(artifact_key("training", home.root.name))

    def __call__(self, progress: Progress) -> None:
        """Show the progress of the training."""
        self._bar("steps", progress.step, progress.steps)
        epochs = f"{progress.epoch:,} of {plural(progress.epochs, 'epoch')} trained"
        self._table.show(_curve_rows(self._model), f"{epochs}, {duration(progress.seconds_left)} left")


def _curve_rows(model: Path) -> list[dict[str, Any]]:
    """Return the losses of a training so far, and the F1 on dev of its epochs, by step."""
    losses, scores = (read_curve(model / name) for name in ("loss.jsonl", "dev.jsonl"))
    rows = {row["step"]: row | {"dev F1": ""} for row in losses}
    for one in scores:
        at_its_end = {"step": one["step"], "epoch": one["epoch"], "dev F1": f"{100 * one['f1']:.2f}"}
        rows[one["step"]] = rows.get(one["step"], {}) | at_its_end
    return [rows[step] for step in sorted(rows)]
