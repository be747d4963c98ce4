"""How much memory a process has held."""

from __future__ import annotations

import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage


def peak_bytes() -> int:
    """Return the greatest resident size of this process so far.

    Linux counts what the parent held before the exec into `ru_maxrss`, so its own account is read where it is there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
