"""The command line: each command makes one call into flows, tasks or the warehouse, and prints the result.

There is one module for each group of commands. Our errors print one line for each problem on standard error; the exit
code is 1. Wrong usage exits with 2, Ctrl-C with 130. Slow imports (torch, Prefect) are inside the commands.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.visible import visible_streams
from e2emern.tasks.errors import InputError, ProblemsError
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.open_files import allow_many_files
from e2emern.warehouse.wording import one_line

from . import (  # noqa: F401  # importing a module adds its commands
    annotate,
    backfill,
    bench,
    check,
    distill,
    doctor,
    evaluate,
    explore,
    export,
    ingest,
    installation,
    link,
    mesh,
    metrics,
    models,
    prune,
    query,
    report,
    show,
    snapshots,
    sources,
    sql,
    status,
    text,
    trace,
    train,
)

_INTERRUPTED = 130  # exit code after Ctrl-C, as shells give it
_FULL = (errno.ENOSPC, errno.EDQUOT)
_STOPPED = "stopped; finished work is kept, and running the same command again continues"


def main() -> None:
    """Run the command line, and exit the process with its exit code."""
    allow_many_files()
    with visible_streams():
        _run()


def _run() -> None:
    try:
        app(prog_name="e2emern")
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            say(_STOPPED)
        raise
    except KeyboardInterrupt:  # outside of typer, which turns it into an exit
        say(_STOPPED)
        sys.exit(_INTERRUPTED)
    except (InputError, WarehouseError) as error:
        _let_go(error)
        _end(*_lines(error))
    except BrokenPipeError:  # the reader of a pipe has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _end(_of_the_system(error))
    except Exception as error:  # a bug of ours: print a line to report instead of a traceback
        if "--verbose" in sys.argv:
            traceback.print_exc()
        what = f"unexpected {type(error).__name__}: {one_line(error)}"
        _end(f"{what}; see where with e2emern --verbose ..., and report it")


def _end(*lines: str) -> None:
    for line in lines:
        say(line)
    sys.exit(1)


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of an error: Prefect keeps the error, and connections in them must not outlive DuckDB."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _of_the_system(error: OSError) -> str:
    place = error.filename2 or error.filename  # the target, if it is a copy
    reason = error.strerror or one_line(error)
    line = f"{place}: {reason}" if place else reason
    return f"{line}; free disk space, and run the same command again" if error.errno in _FULL else line


def _lines(error: Exception) -> list[str]:
    lines = str(error).splitlines() if isinstance(error, ProblemsError) else [one_line(error)]
    return [*lines, *getattr(error, "__notes__", ())]
