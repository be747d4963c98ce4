"""A tiny model for the tests of the flow and the command line, trained once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A model folder and an entities table."""
    return make_world(tmp_path_factory.mktemp("world"))
