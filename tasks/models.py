"""Loads the model and the vocabulary that a run annotates with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from model.folder import model_version
from model.inference.cascade import Cascade, load_cascade
from tasks.choices import check_model, read_mesh_version
from tasks.errors import InputError
from warehouse.entities import keep_entities
from warehouse.errors import WarehouseError
from warehouse.layout import Home

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Versions:
    """Which model linked to which vocabulary: what the mentions of a home are filed under."""

    model: str
    mesh: str


def read_versions(model: Path, mesh: Path) -> Versions:
    """Return the versions of a model folder and an entities table, without loading them. Raises InputError."""
    check_model(model)
    return Versions(model=model_version(model), mesh=read_mesh_version(mesh))


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
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
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
