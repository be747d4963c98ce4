"""Choose the rows of documents and mentions that a snapshot omits: those of superseded documents, by file and record.

A join with `superseded` would compare three columns of every row, two of them text, and take longer than counting all
mentions. So a file without superseded documents is read whole, a file with nothing else is not read, and the others are
joined with the table `hidden` on two integers. Annotating a source again does not change its record numbers, so the
omitted rows do not depend on the mentions in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from e2emern.warehouse.layout import SourceKey
from e2emern.warehouse.snapshots.compaction import first_place

_COUNTS_SQL = "SELECT source, digest, count(*) FROM superseded GROUP BY source, digest"
_HIDDEN_SQL = """
WITH reading AS (
    SELECT unnest($reading::STRUCT(file UBIGINT, "first" BIGINT, source VARCHAR, digest VARCHAR)[], recursive := true)
)
INSERT INTO hidden
SELECT $view, file, "first" + record AS place FROM superseded JOIN reading USING (source, digest) ORDER BY file, place
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """The files that a view reads whole, partly (one source) or merged, the last two in the order of `hidden.file`."""

    whole: tuple[str, ...]
    partly: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()


def hide(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    *,
    holding: Mapping[str, Sequence[SourceKey]],
    documents: Mapping[SourceKey, int],
) -> Shown:
    """Return the files that a view reads, and add the rows that it omits to the table `hidden`.

    `holding` gives the sources of each file in their order in the file, `documents` the number of documents of each
    source. A file without visible rows is not read, unless there is no other.
    """
    superseded = {SourceKey(*key): count for *key, count in connection.execute(_COUNTS_SQL).fetchall()}
    read = [path for path, keys in holding.items() if any(superseded.get(key, 0) < documents[key] for key in keys)]
    read = read or list(holding)[:1]
    whole = [path for path in read if superseded.keys().isdisjoint(holding[path])]
    in_part = [path for path in read if not superseded.keys().isdisjoint(holding[path])]
    partly = [path for path in in_part if len(holding[path]) == 1]
    merged = [path for path in in_part if len(holding[path]) > 1]
    reading = [(file, 0, key) for file, path in enumerate(partly) for key in holding[path]]
    for file, path in enumerate(merged):
        numbered = enumerate(holding[path])
        reading += [(file, first_place(number), key) for number, key in numbered if key in superseded]
    listed = [{"file": file, "first": first, "source": key.name, "digest": key.digest} for file, first, key in reading]
    if listed:  # an empty insert is a bug in DuckDB: see `create_table`
        connection.execute(_HIDDEN_SQL, {"view": view, "reading": listed})
    return Shown(tuple(whole), tuple(partly), tuple(merged))
