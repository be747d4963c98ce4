"""Fixtures that more than one test module of the warehouse uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.layout import Home
from tests.warehouse.homes import add_vocabulary


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with only a vocabulary."""
    home = Home(tmp_path)
    add_vocabulary(home)
    return home
