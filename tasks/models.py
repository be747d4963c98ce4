"""Load the model and the vocabulary that a run annotates with.

torch and transformers are slow to import, so only the functions that need them import them: finding versions and the
remaining sources needs no model.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2emern.model.errors import FileError, first_line
from e2emern.model.progress import Progress, silent
from e2emern.model.seen import SEEN, Seen, read_seen
from e2emern.model.version import model_version
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.devices import pick_device
from e2emern.tasks.errors import InputError
from e2emern.tasks.resolve import check_model, no_entities, read_mesh_version
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.mesh.entities import keep_entities
from e2emern.warehouse.registry.models import check_kept

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from e2emern.model.inference.cascade import Cascade
    from e2emern.model.network import E2emernModel


def read_versions(model: Path, mesh: Path) -> Versions:
    """Return the versions of a model folder and an entities table, without loading them.

    Raises InputError for an invalid file, and if a model of a home has changed since it was added.
    """
    check_model(model)
    version = model_version(model)
    try:
        check_kept(model, version=version)
    except WarehouseError as error:
        raise InputError(str(error)) from error
    return Versions(model=version, mesh=read_mesh_version(mesh))


def load(model: Path, mesh: Path, *, home: Home, device: str = "auto", progress: Progress = silent) -> Cascade:
    """Load the cascade. If its entity bank has to be built, keep it in the home and report to `progress`.

    Raises InputError if the model, the vocabulary or the device cannot be used.
    """
    with _without_collection():
        from safetensors import SafetensorError

        from e2emern.model.inference.cascade import load_cascade

        place = pick_device(device)
        hide_progress_bars()
        try:
            return load_cascade(model, mesh=mesh, banks=home.banks, device=place, progress=progress)
        except (ValueError, KeyError, OSError, SafetensorError) as error:
            raise InputError(f"{model} with {mesh}: {first_line(error)}") from error


@contextmanager
def _without_collection() -> Iterator[None]:
    """Disable the garbage collector while loading, and exclude the loaded objects from it afterwards.

    Traversing hundreds of thousands of concepts takes a fifth of the loading time, and later an eighth of the
    annotation time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def hide_progress_bars() -> None:
    """Disable the progress bars of transformers: commands report their own progress."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers


def load_whole(folder: Path, *, device: str) -> tuple[E2emernModel, PreTrainedTokenizerBase, str]:
    """Load network, tokenizer and version of a model folder, without vocabulary. Raises InputError if it is invalid."""
    from e2emern.model.pretrained import load_model

    check_model(folder)
    try:
        return load_model(folder, device=device)
    except FileError as error:
        raise InputError(error.reason, path=folder) from error


def seen_by(model: Path) -> Seen:
    """Return the documents that a model and its ancestors have seen. Raises InputError if they are unknown."""
    try:
        if (seen := read_seen(model)) is not None:
            return seen
    except FileError as error:
        raise InputError(error.reason, path=error.path) from error
    raise InputError(
        f"does not list the documents it was trained on ({SEEN}), so neither it nor models trained from it can be "
        "judged; use a model made by `e2emern train`",
        path=model,
    )


def read_vocabulary(mesh: Path) -> Vocabulary:
    """Return the concepts of an entities table. Raises InputError if the file is not a valid table."""
    try:
        return Vocabulary.read(mesh)
    except FileError as error:
        raise no_entities(mesh, error.reason) from error


def keep_vocabulary(home: Home, mesh: Path, *, mesh_version: str) -> None:
    """Copy the entities table and its tree into the home, unless the home has it.

    Raises InputError if the file is not a valid entities table, or the home has a different one of this version.
    """
    try:
        keep_entities(home, mesh, mesh_version=mesh_version)
    except WarehouseError as error:
        raise InputError(error.reason if error.path == mesh else str(error), path=mesh) from error
