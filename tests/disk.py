"""A full disk for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SIZE = 32 << 20


@contextmanager
def full_disk(place: Path) -> Iterator[Callable[[int], None]]:
    """Mount a small, full file system at `place`; yield a function that frees some bytes on it.

    The test is skipped where mounting is not permitted.
    """
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("needs a small file system, and mount is missing")
    words = [mount, "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    mounted = subprocess.run(words, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs a small file system: {mounted.stderr.strip()}")
    ballast = place / "ballast"

    def make_room(free: int) -> None:
        ballast.unlink(missing_ok=True)
        room = shutil.disk_usage(place).free
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room - free, 1))

    try:
        make_room(0)
        yield make_room
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
