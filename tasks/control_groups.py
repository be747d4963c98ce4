"""The limits of this process's control groups (cgroup v2): those of a container, a Slurm job or a systemd unit.

The cores and the memory that Linux reports are those of the host, even if a container may use only part of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cpu_limit() -> float | None:
    """Return the CPUs that this process may use at once, 1.5 for one and a half; None without a limit."""
    found = []
    for group in _groups():
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text("ascii").split()
            if quota != "max":
                found.append(int(quota) / int(period))
    return min(found, default=None)


def memory_left() -> int | None:
    """Return the bytes that this process may still use; None without a limit. Cached files count as used."""
    found = []
    for group in _groups():
        with suppress(OSError, ValueError):
            limit = (group / "memory.max").read_text("ascii").strip()
            if limit != "max":
                found.append(max(0, int(limit) - int((group / "memory.current").read_text("ascii"))))
    return min(found, default=None)


def _groups() -> Iterator[Path]:
    """Yield the folders of this process's group and of the groups that contain it."""
    with suppress(OSError):
        for line in OWN.read_text("utf-8").splitlines():
            if line.startswith("0::/"):
                group = MOUNT / line.removeprefix("0::/")
                yield from (each for each in (group, *group.parents) if each.is_relative_to(MOUNT))
