"""One installation for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.installation import Installation
from tests.tasks.ingest.serving import Site, serving


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """What the nights of the installation fetch."""
    with serving() as site:
        yield site


@pytest.fixture(scope="session")
def installation(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with everything deployed, on an empty Prefect home, and the workers of one host."""
    folder = tmp_path_factory.mktemp("installation")
    settings = {
        "home": str(folder / "home"),
        "sources": [site.url],
        "device": "cpu",
        "batch": 3,
        "poll": 1.0,
        "patience": 60,
        "unlocked": 15,
        "publish_every": 0.0001,
        "retention": {"snapshots": 5, "grace_hours": 0},
    }
    installation = Installation(folder, settings)
    try:
        installation.start_server()
        installation.deploy()
        installation.start_workers()
        yield installation
    finally:
        installation.stop()
