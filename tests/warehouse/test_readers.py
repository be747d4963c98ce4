"""Nobody who reads is disturbed by who publishes; a longer version is `python -m tests.warehouse.readers`."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots import compaction
from tests.warehouse.readers import read_while_publishing


def test_readers_see_whole_snapshots_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 4)
    report = read_while_publishing(Home(tmp_path), readers=2, publishes=6, grace_s=0.5)
    assert report.answers >= 4
    assert (report.published, report.rolled_back, report.left) == (6, 1, 1)
