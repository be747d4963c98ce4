"""Count the invalid annotations of sources by kind, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, zip_longest

import duckdb

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.quoting import file_list
from e2emern.warehouse.wording import MOST_EXAMPLES, one_line

_AT_ONCE = 64  # files that one query reads

_INVALID_SQL = """
WITH
    invalid AS (
        SELECT source, record, document_id, unnest(invalid_annotations, recursive := true),
            generate_subscripts(invalid_annotations, 1) AS number
        FROM read_parquet({files})
    ),
    ranked AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY source, record, number) AS place FROM invalid)
SELECT kind, count(*), list(struct_pack(source, position, document_id, reason) ORDER BY place) FILTER (place <= {most})
FROM ranked GROUP BY kind
"""


@dataclass(frozen=True, slots=True)
class InvalidAnnotations:
    """Invalid annotations of some sources: the count of each kind, and at most `MOST_EXAMPLES` example lines."""

    kinds: dict[str, int]  # most frequent first
    examples: list[str]

    @property
    def total(self) -> int:
        """Number of invalid annotations of all kinds."""
        return sum(self.kinds.values())


def invalid_annotations(home: Home, sources: Iterable[SourceKey]) -> InvalidAnnotations:
    """Return the invalid annotations in the documents files of sources, whether or not they are published.

    Raises `WarehouseError` if a file cannot be read.
    """
    kinds: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    paths = [home.documents(source) for source in sorted(sources)]
    with connect() as connection:
        for first in range(0, len(paths), _AT_ONCE):
            sql = _INVALID_SQL.format(files=file_list(paths[first : first + _AT_ONCE]), most=MOST_EXAMPLES)
            try:
                rows = connection.execute(sql).fetchall()
            except duckdb.Error as error:
                raise WarehouseError(f"invalid annotations cannot be read: {one_line(error)}") from error
            for kind, number, listed in rows:
                kinds[kind] += number
                lines = ("{source}: {position}: document {document_id}: {reason}".format(**one) for one in listed)
                examples.setdefault(kind, []).extend(lines)
    in_turn = (line for lines in zip_longest(*(examples[kind] for kind in sorted(examples))) for line in lines if line)
    return InvalidAnnotations(dict(kinds.most_common()), list(islice(in_turn, MOST_EXAMPLES)))
