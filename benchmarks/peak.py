"""Measure the peak memory of a process."""

from __future__ import annotations

import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage


def peak_bytes() -> int:
    """Return the greatest resident size of this process so far.

    On Linux, `ru_maxrss` includes the memory of the parent before the exec, so VmHWM in /proc is read if available.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
