"""What the project ships, so that the first command needs no download: a sample, a model, a vocabulary, recipes."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent

SAMPLE = _FOLDER / "sample.xml"
MODEL = _FOLDER / "model"
MESH = _FOLDER / "mesh.parquet"
RECIPES = _FOLDER / "recipes"
