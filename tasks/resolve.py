"""Resolve and check the arguments of a run before slow imports, so that a typo is reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.defaults import MODEL, RECIPES
from e2emern.model.errors import FileError, first_line
from e2emern.model.version import check_files, model_version
from e2emern.tasks.errors import InputError
from e2emern.tasks.parsers import detect_format
from e2emern.tasks.sources import find_files, source_key
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, digest_file
from e2emern.warehouse.mesh.entities import entities_path
from e2emern.warehouse.registry.models import champion, get_model, models
from e2emern.warehouse.snapshots.reader import current_snapshot, current_sources

_SPANS = "PubTator text with mentions, plain or compressed"


def check_choices(inputs: Iterable[str | Path], *, home: Home, model: Path, mesh: Path) -> list[Path]:
    """Check that inputs, model and vocabulary exist, and return the files of the inputs. Raises InputError."""
    check_model(model)
    read_mesh_version(find_mesh(mesh, home=home))
    return find_files(inputs, home=home, report=lambda path, reason: None)  # annotation reports them


def check_home_of_sample(home: Home, *, sample: Path) -> None:
    """Check that a home holds no source except the sample, and no dump file. Raises InputError."""
    own = source_key(sample, digest_file(sample))
    found = {path.name for path in home.dumps.glob("[!.]*")}
    stem = own.stem.removesuffix(f"-{own.parser}")  # whatever parser read it
    found |= {path.stem.rpartition(".")[0] for path in _documents(home) if path.stem.rpartition("-")[0] != stem}
    if current_snapshot(home):
        found |= {key.name for key in current_sources(home) if (key.name, key.content) != (own.name, own.content)}
    if found:
        raise InputError(
            f"{home.root} holds {min(found)}, but the sample is not mixed with other sources; give another --home"
        )


def check_no_sample(home: Home, *, sample: Path) -> None:
    """Check that a home does not hold the sample, in any release. Raises InputError."""
    if any(path.stem.rpartition(".")[0] == sample.name for path in _documents(home)):
        raise InputError(
            f"{home.root} holds the invented documents of {sample.name}, which are not mixed with others; give another "
            "--home"
        )


def _documents(home: Home) -> Iterator[Path]:
    return home.root.glob("documents/[!.]*.parquet")


def check_spans(path: Path, *, output: Path) -> None:
    """Check that a file is PubTator text and that `output` is another file, not a folder. Raises InputError."""
    if (form := detect_format(path, expected=_SPANS)) != "pubtator":
        raise InputError(f"found {form}, expected {_SPANS}", path=path)
    check_output(output)
    if output.exists() and output.samefile(path):
        raise InputError("is the input itself; name another file with --output", path=output)


def check_output(output: Path) -> None:
    """Check that a file can be written under this name, before the work starts. Raises InputError."""
    if output.is_dir():
        raise InputError("is a folder, expected a file to write to", path=output)


def find_model(model: Path | str | None, *, home: Home) -> Path:
    """Return a model folder by its path or by its version in the home; by default the champion's folder.

    A home without a champion uses the bundled model. Raises InputError if there is no such model, and WarehouseError if
    the home's models are damaged.
    """
    if model is not None and Path(model).is_dir():
        return Path(model)
    try:
        version = champion(home) if model is None else str(model)
        return MODEL if version is None else get_model(home, version).folder
    except WarehouseError as error:
        if model is None:
            raise
        reason = "no such model folder or version in the home (setting model, or --model)"
        raise InputError(reason, path=model) from error


def snapshot_model(home: Home) -> str | None:
    """Return the model of the current snapshot, as `find_model` takes it; None if either is missing."""
    current = current_snapshot(home)
    if current is None:
        return None
    if current.model_version == model_version(MODEL):
        return str(MODEL)
    kept = {one.version for one in models(home)}
    return current.model_version if current.model_version in kept else None


def require_snapshot_model(home: Home) -> str | None:
    """Return the model of the current snapshot; None without a snapshot. Raises InputError if the model is missing."""
    found, current = snapshot_model(home), current_snapshot(home)
    if found is None and current:
        raise InputError(
            f"the tables are of model {current.model_version}, which is neither bundled nor kept in {home.root}: name "
            "its folder (setting model), or switch to another model with backfill"
        )
    return found


def snapshot_mesh(home: Home) -> str | None:
    """Return the version of MeSH of the current snapshot; None without a snapshot."""
    current = current_snapshot(home)
    return current.mesh_version if current else None


def find_recipe(config: Path) -> Path:
    """Return the TOML file at this path, or the shipped recipe of this name. Raises InputError if neither exists."""
    shipped = {file.stem: file for file in RECIPES.glob("*.toml")}
    if config.is_file():
        return config
    if str(config) not in shipped:
        raise InputError(f"no such file, and none of the shipped recipes ({', '.join(sorted(shipped))})", path=config)
    return shipped[str(config)]


def find_mesh(mesh: Path, *, home: Home) -> Path:
    """Return an entities table: the file at this path, or the version of this name in the home.

    Raises InputError if neither exists.
    """
    if mesh.is_file() or mesh.suffix == ".parquet":
        return mesh
    if not home.root.is_dir():
        raise InputError(
            f"no such file, and no folder {home.root} on this host that could have this version: mount it, or name an "
            "entities table (setting mesh, or --mesh)",
            path=mesh,
        )
    try:
        return entities_path(home, mesh_version=str(mesh))
    except WarehouseError as error:
        raise InputError(f"no such file, and {error}", path=mesh) from error


def read_mesh_version(mesh: Path) -> str:
    """Return the version of an entities table. Raises InputError."""
    try:
        # pq.read_table imports pandas, which is slow
        found = pq.ParquetFile(mesh).read(columns=["mesh_version"])["mesh_version"].unique().to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise no_entities(mesh, first_line(error)) from error
    if len(found) != 1 or not found[0]:
        raise InputError(f"found {len(found)} MeSH versions, expected 1", path=mesh)
    return str(found[0])


def no_entities(mesh: Path, reason: str) -> InputError:
    """Return the error of a file that is not an entities table."""
    return InputError(f"cannot be read as an entities table ({reason})", path=mesh)


def check_model(model: Path) -> None:
    """Check that a model folder has all files of a model. Raises InputError."""
    if not model.is_dir():
        raise InputError("no such model folder", path=model)
    try:
        check_files(model)
    except FileError as error:
        raise InputError(error.reason, path=model) from error
