"""Shared by the commands of `model/`: arguments, log lines and errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path


def model_parser(prog: str, *, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of a model folder, a prepared corpus and its splits, an entities table and a device."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--mesh", required=True, type=Path)
    parser.add_argument("--splits", default="ncbi-disease/dev,bc5cdr/dev")
    parser.add_argument("--device", default="cpu")
    return parser


def log(line: str) -> None:
    """Print a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def fails_in_one_line(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Wrap a command: print a ValueError or OSError as one line on standard error, and return 1."""

    @wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        try:
            return main(arguments)
        except (ValueError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1

    return run


def plural(number: int, noun: str) -> str:
    """Return a number of things in words: `1 epoch`, `2,000 epochs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
