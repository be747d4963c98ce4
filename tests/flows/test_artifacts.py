"""Artifacts of a run, also while the server is unreachable."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.logging import disable_run_logger

from e2emern.flows import live_artifacts
from e2emern.flows.batches import read_work
from e2emern.flows.live_artifacts import LearningCurve, ProgressArtifact
from e2emern.model.training.train import Progress
from e2emern.warehouse.layout import Home


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), ObjectNotFound(Exception("deleted"))])
@pytest.mark.parametrize("fails", ["create_progress_artifact", "update_progress_artifact"])
def test_a_job_continues_whether_or_not_its_progress_can_be_shown(
    monkeypatch: pytest.MonkeyPatch, fails: str, error: Exception
) -> None:
    """Each try takes as long as Prefect's client retries: a minute."""
    asked = _server(monkeypatch, fails=fails, error=error)
    with disable_run_logger(), ProgressArtifact("a.xml") as progress:
        for done in (0, 1, 4):
            progress("documents", done, 4)
    assert [name for name, *_ in asked].count(fails) == 1


def test_a_job_has_one_bar_which_is_full_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _server(monkeypatch)
    times = iter([0.0, 10.0, 20.0, 30.0])
    with ProgressArtifact("batch", where="worker7, cuda", clock=lambda: next(times)) as progress:
        progress("word pieces", 500, 1_000)
        progress("documents", 0, None)
        progress("documents", 20, 80)
        progress("documents", 80, 80)
    assert asked == [
        ("create_progress_artifact", 50.0, "worker7, cuda: 500 of 1,000 word pieces, 0.0/s"),
        ("update_progress_artifact", 0.0, "worker7, cuda: 0 documents, 0.0/s"),
        ("update_progress_artifact", 25.0, "worker7, cuda: 20 of 80 documents, 2.0/s, 30.0 s left"),
        ("update_progress_artifact", 99.0, "worker7, cuda: 80 of 80 documents, 4.0/s, 0.0 s left"),
        ("update_progress_artifact", 100.0, "worker7, cuda: done"),
    ]


def test_the_table_of_workers_has_the_batches_that_run() -> None:
    """A batch whose worker still loads the model has no bar, and no row."""
    first, second, third = (UUID(int=number) for number in range(3))
    bars = [
        (first, "progress-batch", "worker7, cuda: 20 of 80 documents, 2.0/s, 30.0 s left"),
        (first, "progress-a-xml", "a.xml: 5 of 40 documents, 1.0/s"),
        (second, "progress-batch", "worker3, cpu: 5 of 1,000 word pieces, 1.0/s"),
    ]
    client = SimpleNamespace(
        read_artifacts=lambda artifact_filter: [
            SimpleNamespace(flow_run_id=run, key=key, description=text) for run, key, text in bars
        ]
    )
    runs = {str(first): "annotate a.xml", str(second): "annotate b.xml", str(third): "annotate c.xml"}
    assert read_work(cast(SyncPrefectClient, client), runs) == [
        {"worker": "worker3, cpu", "batch": "annotate b.xml", "progress": "5 of 1,000 word pieces, 1.0/s", "file": ""},
        {
            "worker": "worker7, cuda",
            "batch": "annotate a.xml",
            "progress": "20 of 80 documents, 2.0/s, 30.0 s left",
            "file": "a.xml",
        },
    ]


def test_the_learning_curve_has_losses_and_the_scores_of_each_epoch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _server(monkeypatch)
    shown: list[tuple[list[dict[str, Any]], str]] = []
    monkeypatch.setattr(
        live_artifacts, "create_table_artifact", lambda rows, key, description: shown.append((rows, description))
    )
    losses = [{"step": 50, "epoch": 0, "total": 0.5}, {"step": 120, "epoch": 1, "total": 0.25}]
    scores = [{"epoch": 0, "step": 60, "f1": 0.8}, {"epoch": 1, "step": 120, "f1": 0.84129}]
    for name, rows in (("loss", losses), ("dev", scores)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    LearningCurve(Home(tmp_path / "home"), tmp_path)(
        Progress(step=120, steps=180, epoch=2, epochs=3, seconds_left=90.0)
    )
    assert shown == [
        (
            [
                {"step": 50, "epoch": 0, "total": 0.5, "dev F1": ""},
                {"step": 60, "epoch": 0, "dev F1": "80.00"},
                {"step": 120, "epoch": 1, "total": 0.25, "dev F1": "84.13"},
            ],
            "2 of 3 epochs trained, 1 min 30 s left",
        )
    ]


def test_a_job_without_progress_has_no_bar_and_a_failed_one_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _server(monkeypatch)
    with ProgressArtifact("relink"):
        pass
    with pytest.raises(ValueError, match="bad"), ProgressArtifact("relink") as progress:
        progress("sources", 1, 2)
        raise ValueError("bad")
    assert [percent for _, percent, _ in asked] == [50.0]


def test_the_bar_of_a_file_is_deleted_when_the_file_is_done_or_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cause: a first load left 1,300 bars."""
    asked = _server(monkeypatch)
    with ProgressArtifact("a.xml", keep=False) as progress:
        progress("documents", 1, 4)
    with pytest.raises(ValueError, match="bad"), ProgressArtifact("b.xml", keep=False) as progress:
        progress("documents", 2, 4)
        raise ValueError("bad")
    assert [(name, percent) for name, percent, _ in asked] == [
        ("create_progress_artifact", 25.0),
        ("delete", 0.0),
        ("create_progress_artifact", 50.0),
        ("delete", 0.0),
    ]


def _server(
    monkeypatch: pytest.MonkeyPatch, *, fails: str = "", error: Exception | None = None
) -> list[tuple[str, float, str]]:
    """Put our own functions in place of Prefect's client; return the list of the calls it gets."""
    asked: list[tuple[str, float, str]] = []

    def server(name: str) -> Any:
        def answer(*given: Any, description: str, **_: object) -> UUID:
            asked.append((name, given[-1], description))
            if name == fails and error:
                raise error
            return uuid4()

        return answer

    for name in ("create_progress_artifact", "update_progress_artifact"):
        monkeypatch.setattr(live_artifacts, name, server(name))
    monkeypatch.setattr(live_artifacts, "_delete", lambda _: asked.append(("delete", 0.0, "")))
    monkeypatch.setattr(live_artifacts, "_STEP_S", 0.0)
    return asked
