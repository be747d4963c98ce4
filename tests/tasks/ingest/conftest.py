"""A server on loopback for each test of fetching."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tasks.ingest.serving import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site
