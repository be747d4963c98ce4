"""Locks of files: one holder at a time, in this process and in others."""

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from e2emern.warehouse.files import atomic_write, is_locked, locked, sweep
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.sources.counts import finished
from tests.network_storage import NetworkStorage

HOLD = """
import sys, pathlib
from e2emern.warehouse.files import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    assert not is_locked(path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(LookupError, match="another process"), locked(path, busy=LookupError("another process")):
            pytest.fail("two processes hold one lock")
        holder.kill()
        holder.wait()
    assert not is_locked(path)
    with locked(path, busy=LookupError("another process")):
        assert is_locked(path)
    assert (path.exists(), is_locked(path)) == (True, False)


@pytest.mark.parametrize("best_effort", [False, True])
def test_holders_of_a_lock_take_turns(tmp_path: Path, best_effort: bool) -> None:
    path, inside, most = tmp_path / "lock", [0], [0]

    def hold() -> None:
        for _ in range(50):
            with locked(path, best_effort=best_effort):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most, path.exists()) == ([0], [1], not best_effort)


def test_an_exception_in_the_block_releases_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(BlockingIOError), locked(path, busy=LookupError(), best_effort=True):
        raise BlockingIOError  # of the block, not of the lock
    assert not path.exists()


def test_a_lock_that_cannot_be_created_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / "lock"):
        pytest.fail("there is no such folder")


def test_on_network_storage_only_the_files_of_dead_writers_are_swept(
    tmp_path: Path, network_storage: NetworkStorage
) -> None:
    """Cause: `sweep` locked a descriptor that cannot write, which NFS refuses, so half-written files stayed."""
    left = tmp_path / ".writing-1-dead"
    left.touch()
    with atomic_write(tmp_path / "file"):
        assert sweep(tmp_path) == [left]
    assert (tmp_path / "file").exists()


def test_on_network_storage_changes_of_another_host_are_seen(tmp_path: Path, network_storage: NetworkStorage) -> None:
    """Causes: a night ended without the files that a listing lacked; a live worker was declared dead."""
    home, versions = Home(tmp_path), Versions("m", "v")
    folder, lock = home.mentions_folder(versions), tmp_path / "lock"
    folder.mkdir(parents=True)
    assert (finished(home, versions), is_locked(lock)) == (frozenset(), False)
    with network_storage.elsewhere():
        (folder / "a.parquet").touch()
        held = lock.open("ab")
        fcntl.flock(held, fcntl.LOCK_EX)
    assert list(folder.glob("*")) == []
    assert (finished(home, versions), is_locked(lock)) == (frozenset({"a"}), True)
    held.close()
    assert not is_locked(lock)
