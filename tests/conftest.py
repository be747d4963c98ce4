"""Fixtures that more than one test module uses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flows.world import World

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models only: a second thread costs more than it brings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of corpora and dumps beside the repository; the test is skipped where it is absent."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("needs the corpora and dumps of ../shared/data, which are not here")
    return data


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A tiny trained model and its vocabulary, made once a session."""
    from tests.flows.world import make_world  # torch, for those tests alone that need it

    return make_world(tmp_path_factory.mktemp("world"))
