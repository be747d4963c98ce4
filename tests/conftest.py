"""Fixtures that more than one test module uses."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models only: a second thread costs more than it brings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of corpora and dumps beside the repository; the test is skipped where it is absent."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("needs the corpora and dumps of ../shared/data, which are not here")
    return data
