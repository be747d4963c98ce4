"""One installation for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.installation import Installation

if TYPE_CHECKING:
    from tests.flows.world import World


@pytest.fixture(scope="session")
def installation(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with everything deployed, and no worker yet."""
    folder = tmp_path_factory.mktemp("installation")
    settings = {
        "E2EMERN_HOME": str(folder / "home"),
        "E2EMERN_MODEL": str(world.model),
        "E2EMERN_MESH": str(world.mesh),
        "E2EMERN_DEVICE": "cpu",
        "E2EMERN_BATCH": "3",
        "E2EMERN_POLL": "0.5",
        "E2EMERN_PATIENCE": "60",
    }
    installation = Installation(folder, settings)
    try:
        installation.start_server()
        installation.prefect("work-pool", "create", "e2emern", "--type", "process")
        installation.prefect("--no-prompt", "deploy", "--all")
        yield installation
    finally:
        installation.stop()
