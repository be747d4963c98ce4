"""Fixtures that more than one test module uses."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from tests.network_storage import NetworkStorage, mount

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.flows.world import World

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models only: a second thread costs more than it brings

hypothesis.settings.register_profile("default", deadline=None)  # time says nothing on a busy machine
hypothesis.settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent

_summaries: list[str] = []


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Undo what a command set in the environment of this process: `check` sets that of an installation."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of corpora and dumps next to the repository; the test is skipped if it is absent."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("needs the corpora and dumps of ../shared/data, which are not here")
    return data


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of reported inputs next to the repository; the test is skipped if it is absent."""
    cases = ROOT.parent / "shared" / "cases"
    if not cases.is_dir():
        pytest.skip("needs the reported inputs of ../shared/cases, which are not here")
    return cases


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A tiny trained model and its vocabulary, made once a session, by the first process that needs it."""
    from tests.flows.world import World, make_world  # torch, only for tests that need it

    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent  # that all processes share
    with (folder / "world.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "world").exists():
            make_world(folder / "unfinished world")
            (folder / "unfinished world").rename(folder / "world")
    return World.at(folder / "world")


@pytest.fixture
def network_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkStorage:
    """The folder of this test as network storage."""
    return mount(tmp_path, monkeypatch)


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that adds a line to the last line of the output, whichever process runs the test."""
    return lambda line: record_property("e2e", line)


class _Scheduling(LoadFileScheduling):
    """Gives each file to one process, and all of e2e to one, so that shared fixtures are made once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/e2e" if file.startswith("tests/e2e/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling:
    return _Scheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Starts the tests of a whole installation first, since they take longest."""
    if os.environ.get("PYTEST_XDIST_WORKER") and not item.nodeid.startswith("tests/e2e/") and not os.nice(0):
        os.nice(5)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        _summaries.extend(str(line) for name, line in report.user_properties if name == "e2e")


def pytest_unconfigure() -> None:
    if _summaries:
        print(f"e2e: {'; '.join(_summaries)}")
