"""The vocabulary as two Parquet files: its concepts, and for each concept all that stand above it.

A concept's ancestors are the concepts whose tree number is a prefix of one of its own (MeSH tree structures:
C04.588 is under C04). A concept mapped to descriptors, as supplementary records are, stands in their trees.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import SchemaMismatchError, WarehouseError
from warehouse.layout import Home
from warehouse.parquet import Rows, TableWriter
from warehouse.schemas import ENTITIES, ENTITY_TREE

_ROWS = 4096


def write_entities(home: Home, rows: Rows, *, mesh_version: str) -> None:
    """Writes a vocabulary (columns `ENTITIES`) and its tree; the tree first, so that one is never without.

    Raises `SchemaMismatchError` when rows do not fit, name another vocabulary or give a concept twice.
    """
    path = home.entities(mesh_version)
    with TableWriter(path, ENTITIES) as writer:
        table = writer.append(rows)
        found = {str(version) for version in table["mesh_version"].to_pylist()}
        if found - {mesh_version}:
            raise SchemaMismatchError(f"{path.name}: found mesh_version {sorted(found)}, expected {mesh_version!r}")
        for mesh_id, count in Counter(table["mesh_id"].to_pylist()).items():
            if count > 1:
                raise SchemaMismatchError(f"{path.name}: concept {mesh_id} stands {count} times, expected once")
        with TableWriter(home.entity_tree(mesh_version), ENTITY_TREE) as tree:
            pairs = list(_pairs(table))
            for start in range(0, len(pairs), _ROWS):
                tree.append([{"mesh_id": one, "ancestor_id": above} for one, above in pairs[start : start + _ROWS]])


def read_entities(home: Home, *, mesh_version: str) -> pa.Table:
    """Returns the vocabulary. Raises `WarehouseError` when the home does not have it."""
    path = home.entities(mesh_version)
    if not path.exists():
        raise WarehouseError(f"{home.root} has no vocabulary {mesh_version}: {path} is not there; import it first")
    return pq.read_table(path)


def _pairs(entities: pa.Table) -> Iterator[tuple[str, str]]:
    """Yields (concept, ancestor) in order of concepts as given, the concept itself first."""
    concepts: list[dict[str, Any]] = entities.select(["mesh_id", "tree_numbers", "mapped_to"]).to_pylist()
    trees: dict[str, list[str]] = {concept["mesh_id"]: concept["tree_numbers"] for concept in concepts}
    holders: dict[str, list[str]] = defaultdict(list)
    for mesh_id, numbers in trees.items():
        for number in numbers:
            holders[number].append(mesh_id)
    for concept in concepts:
        mesh_id = concept["mesh_id"]
        numbers = [number for one in (mesh_id, *concept["mapped_to"]) for number in trees.get(one, ())]
        above = {holder for number in numbers for prefix in _prefixes(number) for holder in holders[prefix]}
        yield mesh_id, mesh_id
        for ancestor in sorted(above - {mesh_id}):
            yield mesh_id, ancestor


def _prefixes(number: str) -> Iterator[str]:
    parts = number.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))
