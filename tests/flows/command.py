"""The command line, called in this process like its entry point: a separate process would take a second."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

import pytest

from e2emern.flows import cli


def run(*arguments: object) -> CompletedProcess[str]:
    """Run a command, and return its exit code, standard output and standard error."""
    words = [str(each) for each in arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["e2emern", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    printed = []
    for stream in (out, err):
        stream.seek(0)
        printed.append(stream.read())
    return CompletedProcess(words, int(ended.value.code or 0), *printed)
