"""The commands that `tests.soak.faults` disturbs, and the states of a home before them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from e2emern.flows import annotate
from e2emern.flows.annotate import annotate_sources
from e2emern.flows.backfill import backfill
from e2emern.flows.relink import relink
from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.mesh.entities import write_entities
from e2emern.warehouse.snapshots.prune import prune
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import read_snapshot
from tests.soak.home import next_mesh, world_of


def _home(folder: Path) -> Home:
    return Home(folder / "home")


def _annotate(folder: Path, *nights: int) -> None:
    paths = {path.name: path for night in nights for path in sorted((folder / "dumps" / str(night)).iterdir())}
    world = world_of(folder)
    annotate_sources([*paths.values()], _home(folder).root, model=world.model, mesh=world.mesh, device="cpu")


def _annotate_all(folder: Path) -> None:
    _annotate(folder, 0, 1, 2)


def _two_nights(folder: Path) -> None:
    _annotate(folder, 0)
    _annotate(folder, 0, 1)


def _unpublished(folder: Path) -> None:
    with patch.object(annotate, "publish", _refuse), suppress(WarehouseError):
        _annotate_all(folder)


def _refuse(*_: object, **__: object) -> None:
    raise WarehouseError("not now")


def _with_next_mesh(folder: Path) -> None:
    write_entities(_home(folder), next_mesh(_home(folder).entities("tiny")), mesh_version="next")


def publish_again(folder: Path) -> None:
    publish(_home(folder), _versions(folder))


def _versions(folder: Path) -> Versions:
    current = read_snapshot(_home(folder))
    return Versions(current.model_version, current.mesh_version)


def _relink(folder: Path) -> None:
    relink(_home(folder).root, mesh="next", model=world_of(folder).model, device="cpu")


def _backfill(folder: Path) -> None:
    backfill(_home(folder).root, model=folder / "world" / "new", device="cpu", publishing=True)


def _prune(folder: Path) -> None:
    prune(_home(folder), keep=1, grace_s=0)


def _damaged(folder: Path) -> None:
    """Damage two files, delete one, and create leftovers of killed processes."""
    home = _home(folder)
    documents = sorted((home.root / "documents").glob("*.parquet"))
    documents[0].write_bytes(documents[0].read_bytes()[:-100])
    next((home.root / "mentions").glob("*/c*.parquet")).unlink()
    next((home.root / "compacted").rglob("*.parquet")).write_bytes(b"cut")
    (home.root / "documents" / ".writing-1-x").write_bytes(b"left")
    (home.snapshots / ".building.duckdb").write_bytes(b"left")
    home.warehouse.unlink()


def _repair(folder: Path) -> None:
    examine(_home(folder), repair=True)
    _annotate_all(folder)


COMMANDS: dict[str, Callable[[Path], None]] = {
    "first night": lambda folder: _annotate(folder, 0),
    "annotate": _annotate_all,
    "publish": publish_again,
    "relink": _relink,
    "backfill": _backfill,
    "prune": _prune,
    "repair": _repair,
}
STATES: dict[str, tuple[str, Callable[[Path], None] | None]] = {
    # the state of the home before each command: a previous state, and the change to it
    "two nights": ("", _two_nights),
    "three nights": ("two nights", _annotate_all),
    "first night": ("", None),
    "annotate": ("two nights", None),
    "publish": ("two nights", _unpublished),
    "relink": ("three nights", _with_next_mesh),
    "backfill": ("three nights", None),
    "prune": ("three nights", _backfill),
    "repair": ("three nights", _damaged),
}
