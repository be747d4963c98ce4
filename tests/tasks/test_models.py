from __future__ import annotations

import gc
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.tasks.errors import InputError
from e2emern.tasks.models import load, read_vocabulary
from e2emern.warehouse.layout import Home
from tests.flows.world import World
from tests.model import tiny


def test_an_entities_table_is_read(tmp_path: Path) -> None:
    assert read_vocabulary(tiny.save_entities(tmp_path)).digest == tiny.vocabulary().digest


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("no Parquet", "Parquet magic bytes not found"),
        ({"mesh_version": ["1"]}, "no column mesh_id, names, entity_type, tree_numbers, record_type, mapped_to, ali"),
    ],
)
def test_invalid_files_are_reported_in_one_line(
    tmp_path: Path, content: str | dict[str, list[str]] | None, reason: str
) -> None:
    path = tmp_path / "mesh.parquet"
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        pq.write_table(pa.table(content), path)
    with pytest.raises(
        InputError, match=f"^{re.escape(str(path))}: cannot be read as an entities table \\(.*"
    ) as error:
        read_vocabulary(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_the_garbage_collector_skips_a_loaded_model(world: World, tmp_path: Path) -> None:
    before = gc.get_freeze_count()
    load(world.model, world.mesh, home=Home(tmp_path), device="cpu")
    assert gc.get_freeze_count() > before
    assert gc.isenabled()
