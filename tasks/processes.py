"""How many processes run the model on this host."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from e2emern.tasks.chunks import cores
from e2emern.tasks.control_groups import memory_left

AUTO: Literal["auto"] = "auto"
MEMORY = 1.8e9  # bytes that an annotating process needs (docs/operations.md)

Wanted = int | Literal["auto"]
"""A number of processes, or `auto`: one per core, as far as memory allows; one for a GPU."""


def count_processes(wanted: Wanted, *, device: str) -> int:
    """Return the number of processes for a device, `cpu` or `cuda`."""
    if wanted != AUTO:
        return wanted
    if device != "cpu":
        return 1
    available = available_memory()
    fitting = cores() if available is None else int(available // MEMORY)
    return max(1, min(cores(), fitting))


def available_memory() -> float | None:
    """Return the bytes that new processes may use; None if this system does not report them."""
    found = [left for left in (memory_left(), _free_memory()) if left is not None]
    return min(found, default=None)


def _free_memory() -> float | None:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024.0
    return None
