"""Which rows of documents and mentions a snapshot leaves out: those of superseded documents, by file and record.

A join with `superseded` compares three columns of every row, two of them texts, which takes longer than to count all
mentions. So a file without superseded documents is read as it is, one without others is not read, and the rest is
joined with the table `hidden`, by two numbers. A record is the same however often its source is annotated, so what is
left out of a file does not depend on which mentions are found in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.layout import SourceKey
from warehouse.snapshots.compaction import first_place

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
    """The files that a view reads: whole, and in part, of one source or merged, each in the order of `hidden.file`."""

    whole: tuple[Path, ...]
    partly: tuple[Path, ...] = ()
    merged: tuple[Path, ...] = ()


def hide(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    *,
    holding: Mapping[Path, Sequence[SourceKey]],
    documents: Mapping[SourceKey, int],
) -> Shown:
    """Returns what a view reads of its files, and adds to the table `hidden` what it leaves out of them.

    `holding` gives the sources of each file in the order in which it holds them, `documents` the number of those
    of each source. A file of which nothing is shown is not read, unless there is no other.
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
        reading += [(file, first_place(number), key) for number, key in enumerate(holding[path])]
    listed = [{"file": file, "first": first, "source": key.name, "digest": key.digest} for file, first, key in reading]
    if listed:  # see `create_table`
        connection.execute(_HIDDEN_SQL, {"view": view, "reading": listed})
    return Shown(tuple(whole), tuple(partly), tuple(merged))
