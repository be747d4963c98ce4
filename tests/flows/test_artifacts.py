"""What operators see of a run while the server is unreachable."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.logging import disable_run_logger

from flows.artifacts import progress_of
from tasks.sources import Source
from tests.flows.world import articles, pubmed
from warehouse.layout import SourceKey


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "pubmed30n0001.xml"
    path.write_text(pubmed(articles(4, first=100)))
    return Source(path, SourceKey(path.name, "0123456789abcdef"), path.stat().st_size)


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), ObjectNotFound(Exception("deleted"))])
@pytest.mark.parametrize("fails", ["create_progress_artifact", "update_progress_artifact"])
def test_a_source_is_worked_at_whether_or_not_its_progress_can_be_shown(
    source: Source, monkeypatch: pytest.MonkeyPatch, fails: str, error: Exception
) -> None:
    """A batch was given up where the server was away for longer than Prefect's client is patient."""
    asked: list[str] = []

    def server(name: str) -> Any:
        def answer(*_: object, **__: object) -> UUID:
            asked.append(name)
            if name == fails:
                raise error
            return uuid4()

        return answer

    for name in ("create_progress_artifact", "update_progress_artifact"):
        monkeypatch.setattr(f"flows.artifacts.{name}", server(name))
    monkeypatch.setattr("flows.artifacts._STEP_S", 0.0)
    with disable_run_logger(), progress_of(source) as advance:
        advance(1)
        advance(3)
    assert asked.count(fails) == 1  # each try would take a minute
