"""What operators see of a run while the server is unreachable."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.logging import disable_run_logger

from e2emern.flows.artifacts import ProgressArtifact


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


def test_a_job_is_one_bar_which_is_full_when_the_job_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _server(monkeypatch)
    with ProgressArtifact("pubmed30n0001.xml.gz") as progress:
        progress("word pieces", 500, 1_000)
        progress("documents", 0, None)
        progress("documents", 4, 4)
    assert asked == [
        ("create_progress_artifact", 50.0, "pubmed30n0001.xml.gz: 500 of 1,000 word pieces"),
        ("update_progress_artifact", 0.0, "pubmed30n0001.xml.gz: 0 documents"),
        ("update_progress_artifact", 99.0, "pubmed30n0001.xml.gz: 4 of 4 documents"),
        ("update_progress_artifact", 100.0, "pubmed30n0001.xml.gz: done"),
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
        monkeypatch.setattr(f"e2emern.flows.artifacts.{name}", server(name))
    monkeypatch.setattr("e2emern.flows.artifacts._delete", lambda _: asked.append(("delete", 0.0, "")))
    monkeypatch.setattr("e2emern.flows.artifacts._STEP_S", 0.0)
    return asked
