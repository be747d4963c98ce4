"""A process with too many open files gets one line, and the command line may open as many as the system allows."""

from __future__ import annotations

import subprocess
import sys

FULL = """
import os, resource
from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import WarehouseError
connect().close()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
opened = []
try:
    while True:
        opened.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for more in (0, 1, 8, 30):
    for _ in range(more):
        os.close(opened.pop())
    try:
        print(connect().execute("SELECT 1").fetchall())
    except WarehouseError as error:
        print(error)
"""
MANY = """
import resource
from e2emern.warehouse.open_files import allow_many_files
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
allow_many_files()
now, same = resource.getrlimit(resource.RLIMIT_NOFILE)
print(same == most, 64 < now <= 65536 or now == most)
"""


def _printed(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # DuckDB ended the process by a signal
    return done.stdout.splitlines()


def test_duckdb_is_not_called_without_free_descriptors() -> None:
    line = "DuckDB cannot be used: Too many open files (at most 64); raise the limit with ulimit -n"
    assert _printed(FULL) == [line, line, line, "[(1,)]"]


def test_the_limit_is_raised_as_far_as_allowed() -> None:
    assert _printed(MANY) == ["True True"]
