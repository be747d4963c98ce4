"""Loads the model and the vocabulary that a run annotates with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from transformers.utils import logging

from model.cascade import Cascade, load_cascade
from model.folder import model_version
from tasks.errors import InputError
from warehouse.entities import entities_path, keep_entities
from warehouse.errors import WarehouseError
from warehouse.layout import Home

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Versions:
    """Which model linked to which vocabulary: what the mentions of a home are filed under."""

    model: str
    mesh: str


def find_mesh(mesh: Path, *, home: Home) -> Path:
    """Return an entities table: a file as it is, or else the version of that name in the home.

    Raises InputError where there is neither.
    """
    if mesh.exists() or mesh.suffix == ".parquet" or not home.root.is_dir():
        return mesh
    try:
        return entities_path(home, mesh_version=str(mesh))
    except WarehouseError as error:
        raise InputError(f"{mesh}: no such file, and {error}") from error


def read_versions(model: Path, mesh: Path) -> Versions:
    """Return the versions of a model folder and an entities table, without loading them. Raises InputError."""
    if not model.is_dir():
        raise InputError(f"{model}: no such model folder; give one with --model")
    try:
        found = pq.read_table(mesh, columns=["mesh_version"])["mesh_version"].unique().to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{mesh}: cannot be read as an entities table ({_first_line(error)})") from error
    if len(found) != 1 or not found[0]:
        raise InputError(f"{mesh}: found {len(found)} MeSH versions, expected 1")
    try:
        return Versions(model=model_version(model), mesh=found[0])
    except OSError as error:
        missing = Path(error.filename or model).name
        raise InputError(f"{model}: no {missing} ({error.strerror}); expected a model folder") from error


def pick_device(name: str) -> str:
    """Return `cpu` or `cuda`; `auto` is cuda where there is one. Raises InputError for a device that is not there."""
    if name not in DEVICES:
        raise InputError(f"unknown device {name!r}: expected one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device was found; use --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def load(
    model: Path, mesh: Path, *, home: Home, device: str = "auto", progress: Callable[[int, int], None] | None = None
) -> Cascade:
    """Load the cascade; an entity bank that has to be built is kept in the home, and `progress` told of it.

    Raises InputError where the model, the vocabulary or the device cannot be used.
    """
    place = pick_device(device)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of the weights, which take a second
    try:
        return load_cascade(model, mesh=mesh, banks=home.banks, device=place, progress=progress)
    except (ValueError, KeyError, OSError, SafetensorError) as error:
        raise InputError(f"{model} with {mesh}: {_first_line(error)}") from error


def keep_vocabulary(home: Home, mesh: Path, *, mesh_version: str) -> None:
    """Copy the entities table and its tree into the home, if it is not there yet.

    Raises InputError where it is no entities table, or the home has another vocabulary of this version.
    """
    try:
        keep_entities(home, mesh, mesh_version=mesh_version)
    except WarehouseError as error:
        raise InputError(f"{mesh}: {str(error).removeprefix(f'{mesh}: ')}") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
