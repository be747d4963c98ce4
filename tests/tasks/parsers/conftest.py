"""Sources of our own making for the tests of the parsers."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a source under a name that does not reveal its format."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "source"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
