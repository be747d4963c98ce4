"""The command line: each command is one call into flows, tasks or the warehouse, and what it prints.

One module for each group of commands. Errors of ours are one line on standard error for each problem and exit code 1;
wrong usage is 2, Ctrl-C is 130. What is slow to import (torch, Prefect) is imported by the command that needs it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback

from flows.cli.application import app, say
from tasks.errors import InputError, ProblemsError
from warehouse.errors import WarehouseError

from . import (  # noqa: F401 (each adds its commands)
    annotate,
    backfill,
    distill,
    doctor,
    evaluate,
    export,
    ingest,
    link,
    mesh,
    models,
    query,
    snapshots,
    sql,
    status,
    trace,
    train,
)

_INTERRUPTED = 130  # exit code after Ctrl-C, as shells give it
_FULL = (errno.ENOSPC, errno.EDQUOT)
_STOPPED = "stopped; what is done stays done, and running the same command again continues"


def main() -> None:
    """Run the command line and end the process with its exit code."""
    _print_anything()
    try:
        app(prog_name="e2emern")
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            say(_STOPPED)
        raise
    except KeyboardInterrupt:  # outside of typer, which makes it an exit
        say(_STOPPED)
        sys.exit(_INTERRUPTED)
    except (InputError, WarehouseError) as error:
        _let_go(error)
        _end(*_lines(error))
    except BrokenPipeError:  # the reader of a pipe has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _end(_of_the_system(error))
    except Exception as error:  # a defect of ours; users get the line to report, not a traceback
        if "--verbose" in sys.argv:
            traceback.print_exc()
        what = f"unexpected {type(error).__name__}: {_one_line(error)}"
        _end(f"{what}; see where with e2emern --verbose ..., and report it")


def _print_anything() -> None:
    """Let `?` stand for the characters that the encoding of the terminal or the pipe has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _end(*lines: str) -> None:
    for line in lines:
        say(line)
    sys.exit(1)


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that an error came through: Prefect keeps it, and connections must not outlive DuckDB."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _of_the_system(error: OSError) -> str:
    place = error.filename2 or error.filename  # of a copy, that which was written
    told = error.strerror or _one_line(error)
    line = f"{place}: {told}" if place else told
    return f"{line}; make room, and the same command continues" if error.errno in _FULL else line


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _lines(error: Exception) -> list[str]:
    lines = str(error).splitlines() if isinstance(error, ProblemsError) else [_one_line(error)]
    return [*lines, *getattr(error, "__notes__", ())]
