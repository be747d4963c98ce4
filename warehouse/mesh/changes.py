"""Compare two versions of MeSH, and find the stored mentions that the changes affect.

A mention is affected if its concept was removed, or if its words are a name that a concept gained or lost. The linker
decides which spellings are the same name, so the caller passes the linker's function that normalizes them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import entities_path
from e2emern.warehouse.parquet import verify_pages
from e2emern.warehouse.quoting import file_list, literal
from e2emern.warehouse.schemas import MENTIONS
from e2emern.warehouse.snapshots.reader import current_snapshot, open_snapshot

KINDS = ("new", "retired", "replaced", "merged", "renamed", "moved")

_BATCH_ROWS = 4096
_MEMORY = "512MB"  # for DuckDB, which spills the rest to disk

# Names that a concept has in only one of the versions, or that are preferred in only one of them.
_CHANGED_NAMES_SQL = """
CREATE TEMP VIEW changed_name AS
WITH
    before AS (SELECT mesh_id, entity_type, name, unnest(names) AS spelled FROM old_concept),
    after AS (SELECT mesh_id, entity_type, name, unnest(names) AS spelled FROM new_concept),
    old_name AS (SELECT mesh_id, entity_type, spelled, spelled = name AS preferred FROM before),
    new_name AS (SELECT mesh_id, entity_type, spelled, spelled = name AS preferred FROM after),
    final AS ((FROM old_name EXCEPT FROM new_name) UNION ALL (FROM new_name EXCEPT FROM old_name))
SELECT DISTINCT mesh_id, entity_type, spelled AS text FROM final
"""
# A removed concept was replaced by the one that lists its id as an alias, or else merged into the one that has its
# preferred name as a name.
_CHANGES_SQL = """
CREATE TEMP TABLE change AS
WITH
    gone AS (FROM old_concept ANTI JOIN new_concept USING (mesh_id)),
    kept AS (SELECT old, new FROM old_concept AS old JOIN new_concept AS new USING (mesh_id)),
    claim AS (
        SELECT unnest(aliases) AS key, entity_type, mesh_id, name, 0 AS place FROM new_concept
        UNION ALL
        SELECT lower(unnest(names)), entity_type, mesh_id, name, 1 FROM new_concept
    ),
    key AS (
        SELECT mesh_id, entity_type, mesh_id AS key, 0 AS place FROM gone
        UNION ALL
        SELECT mesh_id, entity_type, lower(name), 1 FROM gone
    ),
    heir AS (
        SELECT key.mesh_id, min((place, claim.mesh_id, claim.name)) AS best
        FROM key JOIN claim USING (entity_type, key, place)
        GROUP BY ALL
    ),
    final AS (
        SELECT 'new' AS change, mesh_id, entity_type, name, NULL AS now FROM new_concept ANTI JOIN old_concept
            USING (mesh_id)
        UNION ALL
        SELECT 'retired', mesh_id, entity_type, name, NULL FROM gone ANTI JOIN heir USING (mesh_id)
        UNION ALL
        SELECT if(best[1] = 0, 'replaced', 'merged'), mesh_id, entity_type, name, best[2] || ' ' || best[3]
        FROM gone JOIN heir USING (mesh_id)
        UNION ALL
        SELECT 'renamed', new.mesh_id, new.entity_type, old.name, new.name FROM kept WHERE old.name <> new.name
        UNION ALL
        SELECT 'moved', new.mesh_id, new.entity_type, new.name,
            array_to_string(list_concat(new.tree_numbers, new.mapped_to), ' ')
        FROM kept
        WHERE list_sort(old.tree_numbers) <> list_sort(new.tree_numbers)
            OR list_sort(old.mapped_to) <> list_sort(new.mapped_to)
    )
FROM final
"""
_LISTED_SQL = """
WITH
    linked AS (SELECT mesh_id, count(*) AS mentions FROM mentions WHERE mesh_id IS NOT NULL GROUP BY ALL),
    worded AS (
        SELECT change.mesh_id, sum(word.mentions) AS mentions
        FROM change JOIN (SELECT DISTINCT mesh_id, entity_type, words FROM changed) AS named USING (mesh_id)
            JOIN word ON word.words = named.words AND word.entity_type = named.entity_type
        WHERE change.change = 'new' GROUP BY ALL
    ),
    final AS (
        SELECT change, mesh_id, name, now,
            coalesce(CASE change WHEN 'new' THEN worded.mentions ELSE linked.mentions END, 0)::BIGINT AS mentions
        FROM change LEFT JOIN linked USING (mesh_id) LEFT JOIN worded USING (mesh_id)
    )
FROM final ORDER BY change, mentions DESC, mesh_id
"""
_TOUCHED_SQL = """
SELECT record FROM mention ANTI JOIN new_concept USING (mesh_id, entity_type) WHERE mesh_id IS NOT NULL
UNION
SELECT record FROM mention JOIN word USING (entity_type, text) SEMI JOIN changed USING (entity_type, words)
ORDER BY record
"""
_REUSED_SQL = """
WITH
    untouched AS (
        SELECT mention.* REPLACE ({version} AS mesh_version, coalesce(new_concept.name, mesh_name) AS mesh_name)
        FROM mention ANTI JOIN fresh_record USING (record)
        LEFT JOIN new_concept ON new_concept.mesh_id = mention.mesh_id
    )
SELECT {columns} FROM (FROM untouched UNION ALL BY NAME FROM fresh)
ORDER BY record, start, "end", entity_type, link_score DESC NULLS LAST, mesh_id
"""


@dataclass(frozen=True, slots=True)
class MeshChanges:
    """The changes from one version to another in a home, with queries about the stored mentions.

    `folder` is for temporary files; the connection reads nothing outside it and the home.
    """

    new: str
    fold: Callable[[str], str]
    folder: Path
    _connection: duckdb.DuckDBPyConnection

    def listed(self) -> pa.Table:
        """Return every change: `change`, `mesh_id`, `name`, `now`, `mentions`; the most mentioned of each kind first.

        `change` is new, retired, replaced, merged, renamed or moved. `now` is the successor, the new name or the new
        trees of the concept. `mentions` counts mentions in the current snapshot: for a new concept, those with its
        words, whatever they are linked to; for any other, those linked to it.
        """
        self._folded("word", "SELECT entity_type, text, count(*) AS mentions FROM mentions GROUP BY ALL")
        changes: pa.Table = self._connection.sql(_LISTED_SQL).to_arrow_table()
        return changes

    def touched(self, mentions: Path) -> list[int]:
        """Return the records of a mentions file that have an affected mention, ascending."""
        self._view("mention", mentions)
        self._folded("word", "SELECT DISTINCT entity_type, text FROM mention")
        return [record for (record,) in self._connection.execute(_TOUCHED_SQL).fetchall()]

    def carried(self, mentions: Path, *, records: list[int], fresh: Path) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a mentions file under the new version, in order.

        Those of `records` are taken from `fresh`, a file in `folder`.
        """
        self._view("mention", mentions)
        self._view("fresh", fresh)
        self._connection.register("fresh_record", pa.table({"record": pa.array(records, pa.int64())}))
        columns = ", ".join(f'"{name}"' for name in MENTIONS.names)
        sql = _REUSED_SQL.format(columns=columns, version=literal(self.new))
        yield from self._connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
        self._connection.unregister("fresh_record")

    def _view(self, name: str, path: Path) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM read_parquet({file_list([path])})")

    def _folded(self, name: str, query: str) -> None:
        """Create a view of the rows of a query with the column `words`, the normalized `text`."""
        path = self.folder / f"{name}.parquet"
        reader = self._connection.sql(query).to_arrow_reader(_BATCH_ROWS)
        schema = reader.schema.append(pa.field("words", pa.string()))
        with pq.ParquetWriter(path, schema) as writer:
            for batch in reader:
                words = pa.array([self.fold(text) for text in batch["text"].to_pylist()], pa.string())
                writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, words], schema=schema))
        self._view(name, path)


@contextmanager
def mesh_changes(home: Home, *, old: str, new: str, fold: Callable[[str], str]) -> Iterator[MeshChanges]:
    """Compare two versions of MeSH in a home. `fold` normalizes a name as the linker does.

    Raises `WarehouseError` if the home lacks one of them, or its snapshot cannot be opened.
    """
    paths = {"old_concept": entities_path(home, mesh_version=old), "new_concept": entities_path(home, mesh_version=new)}
    with tempfile.TemporaryDirectory(prefix="e2emern-mesh-") as folder, _opened(home, folder) as connection:
        connection.execute("SET enable_progress_bar = false")
        changes = MeshChanges(new, fold, Path(folder), connection)
        for name, path in paths.items():
            verify_pages(path)
            changes._view(name, path)
        connection.execute(_CHANGED_NAMES_SQL)
        changes._folded("changed", "FROM changed_name")
        connection.execute(_CHANGES_SQL)
        yield changes


@contextmanager
def _opened(home: Home, spill: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection in which `mentions` are those of the current snapshot, empty before the first publish."""
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": _MEMORY, "temp_directory": spill}
    if current_snapshot(home) is not None:
        with open_snapshot(home, config=config) as connection:
            yield connection
    else:
        with connect(config=config) as connection:
            connection.register("nothing", MENTIONS.empty_table())
            connection.execute("CREATE TEMP VIEW mentions AS FROM nothing")
            yield connection
