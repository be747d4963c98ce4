"""No flipped bit makes other rows; `make soak` flips more."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.snapshots import compaction
from tests.soak.flips import flip_bits


def test_flipped_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LOOSE", 2)
    done = flip_bits(tmp_path, flips=80, each=40)
    assert done.refused["reuse"] > 3
    assert done.refused["publish"] + done.harmless["publish"] == 2
