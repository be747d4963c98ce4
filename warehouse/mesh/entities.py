"""Vocabularies: each version of MeSH is two Parquet files, its concepts and the ancestors of each concept.

A concept's ancestors are the concepts whose tree number is a prefix of one of its own (MeSH tree structures:
C04.588 is under C04). A concept mapped to descriptors, as supplementary records are, is in their trees.
A stored version never changes, because snapshots show it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import SchemaMismatchError, WarehouseError
from e2emern.warehouse.files import atomic_write
from e2emern.warehouse.footers import check_footer, seal_footer, without_seal
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.parquet import Rows, TableWriter
from e2emern.warehouse.quoting import file_list
from e2emern.warehouse.schemas import ENTITIES, ENTITY_TREE
from e2emern.warehouse.wording import one_line

_BATCH_ROWS = 4096
_MEMORY = "128MB"  # for DuckDB, which spills the rest to disk

_TREE_SQL = """
WITH
    concept AS (
        SELECT file_row_number AS place, mesh_id, tree_numbers, mapped_to
        FROM read_parquet({files}, file_row_number = true)
    ),
    heading AS (SELECT place, mesh_id, unnest(mapped_to) AS heading FROM concept),
    number AS (SELECT mesh_id, unnest(tree_numbers) AS number FROM concept),
    numbered AS (
        SELECT place, mesh_id, number FROM concept JOIN number USING (mesh_id)
        UNION
        SELECT place, heading.mesh_id, number FROM heading JOIN number ON number.mesh_id = heading.heading
    ),
    prefix AS (
        SELECT place, mesh_id, string_split(number, '.') AS parts, unnest(range(1, len(parts) + 1)) AS length
        FROM numbered
    ),
    final AS (
        SELECT place, mesh_id, mesh_id AS ancestor_id FROM concept
        UNION
        SELECT place, prefix.mesh_id, number.mesh_id
        FROM prefix JOIN number ON number.number = array_to_string(parts[:length], '.')
    )
SELECT mesh_id, ancestor_id FROM final ORDER BY place, ancestor_id <> mesh_id, ancestor_id
"""
_TWICE_SQL = """
SELECT mesh_id, count(*) AS times FROM read_parquet({files}) GROUP BY ALL HAVING times > 1 ORDER BY mesh_id LIMIT 1
"""
_DIFFERENT_SQL = """
(SELECT {columns} FROM read_parquet({one}) EXCEPT SELECT {columns} FROM read_parquet({other}))
UNION ALL
(SELECT {columns} FROM read_parquet({other}) EXCEPT SELECT {columns} FROM read_parquet({one}))
LIMIT 1
"""
_COUNTS_SQL = """
SELECT count(*), count(*) FILTER (entity_type = 'Disease'), count(*) FILTER (entity_type = 'Chemical'),
    coalesce(sum(len(names)), 0)
FROM read_parquet({files})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularySummary:
    """Counts of one version of MeSH in a home."""

    mesh_version: str
    concepts: int
    diseases: int
    chemicals: int
    names: int


def write_entities(home: Home, rows: Rows, *, mesh_version: str) -> None:
    """Write a vocabulary (columns `ENTITIES`) and its tree.

    Raises `SchemaMismatchError` if rows do not fit the schema, name another version or repeat a concept, and
    `WarehouseError` if the home has a different vocabulary of this version.
    """
    with tempfile.TemporaryDirectory(prefix="e2emern-entities-") as folder:
        table = Path(folder) / home.entities(mesh_version).name
        with TableWriter(table, ENTITIES) as writer:
            writer.append(rows)
        keep_entities(home, table, mesh_version=mesh_version)


def keep_entities(home: Home, table: Path, *, mesh_version: str) -> bool:
    """Copy an entities table into the home after writing its tree. Return False if both existed already.

    Raises the errors of `write_entities`.
    """
    _check(table, mesh_version=mesh_version)
    make_home(home)
    kept = home.entities(mesh_version)
    with _duckdb() as connection:
        if kept.exists() and without_seal(kept.read_bytes()) != without_seal(table.read_bytes()):
            columns = ", ".join(ENTITIES.names)
            sql = _DIFFERENT_SQL.format(columns=columns, one=file_list([kept]), other=file_list([table]))
            try:
                different = connection.execute(sql).fetchall()
            except duckdb.Error as error:  # about `kept`: `table` was checked
                raise WarehouseError("cannot be read; move it away and import it again", path=kept) from error
            if different:
                raise WarehouseError(
                    f"has a different vocabulary of version {mesh_version}; give this one another version "
                    "(e2emern mesh import --version), or use that of the home (setting mesh, or --mesh "
                    f"{mesh_version})",
                    path=home.root,
                )
        if kept.exists() and home.entity_tree(mesh_version).exists():
            return False
        for mesh_id, count in connection.execute(_TWICE_SQL.format(files=file_list([table]))).fetchall():
            raise SchemaMismatchError(f"has concept {mesh_id} {count} times, expected once", path=Path(table.name))
        with TableWriter(home.entity_tree(mesh_version), ENTITY_TREE) as tree:
            for batch in connection.sql(_TREE_SQL.format(files=file_list([table]))).to_arrow_reader(_BATCH_ROWS):
                tree.append(batch)
    with table.open("rb") as source, atomic_write(kept) as file:
        shutil.copyfileobj(source, file)
        seal_footer(file)
    return True


def entities_path(home: Home, *, mesh_version: str) -> Path:
    """Return the path of a vocabulary of the home.

    Raises `WarehouseError` if its footer is damaged or, listing the others, if it is missing.
    """
    path = home.entities(mesh_version)
    if not path.exists():
        versions = ", ".join(one.mesh_version for one in list_vocabularies(home)) or "none"
        raise WarehouseError(
            f"has no vocabulary {mesh_version}, but {versions}; import it first: e2emern mesh import", path=home.root
        )
    try:
        check_footer(path)
    except ValueError as error:
        raise WarehouseError(f"is damaged ({error}); see e2emern doctor (damaged-file)", path=path) from error
    return path


def list_vocabularies(home: Home) -> list[VocabularySummary]:
    """Return the vocabularies of a home, sorted by name. Raises `WarehouseError` if one cannot be read."""
    found = []
    with _duckdb() as connection:
        for path in home.entities("any").parent.glob("[!.]*.parquet"):
            if path.stem.endswith(("~tree", "~failures")):
                continue
            files = file_list([path])
            try:
                counts = connection.execute(_COUNTS_SQL.format(files=files)).fetchall()[0]
                versions = connection.execute(f"SELECT DISTINCT mesh_version FROM read_parquet({files})").fetchall()
            except duckdb.Error as error:
                reason = one_line(error)
                raise WarehouseError(
                    f"cannot be read ({reason}); move it away and import it again", path=path
                ) from error
            concepts, diseases, chemicals, names = map(int, counts)
            found += [
                VocabularySummary(
                    mesh_version=version, concepts=concepts, diseases=diseases, chemicals=chemicals, names=names
                )
                for (version,) in versions
            ]
    return sorted(found, key=lambda one: one.mesh_version)


def sorted_rows(table: Path, *, by: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file sorted by some of its columns, in constant memory."""
    with _duckdb() as connection:
        yield from connection.sql(f"FROM read_parquet({file_list([table])}) ORDER BY {by}").to_arrow_reader(_BATCH_ROWS)


def _check(table: Path, *, mesh_version: str) -> None:
    try:
        schema = pq.read_schema(table)
        found = pq.ParquetFile(table).read(columns=["mesh_version"])  # pq.read_table imports pandas, which is slow
        versions = {str(one) for one in found["mesh_version"].unique().to_pylist()}
    except (OSError, pa.ArrowException) as error:
        raise SchemaMismatchError("cannot be read as an entities table", path=table) from error
    if [(field.name, field.type) for field in schema] != [(field.name, field.type) for field in ENTITIES]:
        raise SchemaMismatchError(
            f"has columns {', '.join(schema.names)}; expected {', '.join(ENTITIES.names)}; import it again", path=table
        )
    if versions - {mesh_version}:
        raise SchemaMismatchError(
            f"has mesh_version {sorted(versions)}, expected {mesh_version!r}", path=Path(table.name)
        )


@contextmanager
def _duckdb() -> Iterator[duckdb.DuckDBPyConnection]:
    with (
        tempfile.TemporaryDirectory(prefix="e2emern-entities-") as spill,
        connect(config={"memory_limit": _MEMORY, "temp_directory": spill, "threads": 1}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        yield connection
