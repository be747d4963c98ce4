"""What the commands of `model/` take that look at a model on gold documents."""

from __future__ import annotations

import argparse
from pathlib import Path


def model_parser(prog: str, *, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of a model folder, a prepared corpus and its splits, an entities table and a device."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--mesh", required=True, type=Path)
    parser.add_argument("--splits", default="ncbi-disease/dev,bc5cdr/dev")
    parser.add_argument("--device", default="cpu")
    return parser
