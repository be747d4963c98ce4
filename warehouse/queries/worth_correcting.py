"""Rank the newest documents of the current snapshot by how much their correction would teach a model.

The newest sources are compared with those before them. The words of a mention are worth more

* the less certain the model is of their mentions (probability of the span times that of the link),
* the more of the newest documents have them,
* the more frequent they have become.

Documents are chosen one after the other, by the worth of the words that no chosen document has yet, per mention that
has to be read. So twenty documents do not all repeat one error.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import duckdb

from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.reader import open_snapshot
from e2emern.warehouse.wording import plural

NEWEST = 20_000  # documents that are ranked
BEFORE = 10  # times as many earlier documents to compare with
_WORDS = 5_000  # those of the greatest worth are considered
_EFFORT = 10  # mentions: what it costs to read a document without any

_FOUND_SQL = """
CREATE OR REPLACE TEMP TABLE newest AS
WITH
    ordered AS (
        SELECT source, digest, started,
            sum(documents) OVER (ORDER BY started DESC, source DESC ROWS UNBOUNDED PRECEDING) - documents AS earlier
        FROM sources JOIN runs ON run_id = first_run WHERE current
    )
SELECT source, digest, earlier < {newest} AS recent FROM ordered WHERE earlier < {newest} * (1 + {before});

CREATE OR REPLACE TEMP TABLE found AS
SELECT document_id, lower(text) AS words, entity_type, recent, 1 - ner_score * coalesce(link_score, 0.5) AS doubt
FROM mentions JOIN newest USING (source, digest);
"""
_WORTH_SQL = """
WITH
    documents_of AS (
        SELECT count(*) FILTER (recent) AS recent, count(*) FILTER (NOT recent) AS earlier
        FROM documents JOIN newest USING (source, digest)
    ),
    counted AS (
        SELECT words, entity_type, avg(doubt) FILTER (recent) AS doubt,
            count(DISTINCT document_id) FILTER (recent) AS now,
            count(DISTINCT document_id) FILTER (NOT recent) AS earlier
        FROM found GROUP BY ALL HAVING now > 0
    ),
    compared AS (
        SELECT words, entity_type, doubt, now, CASE WHEN documents_of.earlier = 0 THEN 1 ELSE
            greatest(1, (now + 1) / (recent + 1) / ((counted.earlier + 1) / (documents_of.earlier + 1))) END AS rise
        FROM counted, documents_of
    ),
    final AS (
        SELECT words, entity_type, doubt, now, rise, doubt * log2(1 + now) * (1 + log2(rise)) AS worth FROM compared
        ORDER BY worth DESC, words, entity_type LIMIT {words}
    )
FROM final
"""
_DOCUMENTS_SQL = """
SELECT document_id, list(DISTINCT [words, entity_type]), count(*) FROM found WHERE recent
GROUP BY document_id ORDER BY document_id
"""


@dataclass(frozen=True, slots=True)
class Worth:
    """A document worth correcting, and why."""

    document_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Words:
    text: str
    doubt: float
    documents: int
    rise: float
    worth: float

    def __str__(self) -> str:
        rise = f", {self.rise:.1f} times as frequent as before" if self.rise >= 2 else ""
        return f"{self.text!r} in {plural(self.documents, 'document')}, certain to {1 - self.doubt:.0%}{rise}"


def worth_correcting(home: Home, *, most: int, without: Container[str] = ()) -> list[Worth]:
    """Return the documents worth correcting, best first, except some; none without mentions.

    Raises `WarehouseError` if the home has no snapshot.
    """
    with open_snapshot(home) as connection:
        connection.execute(_FOUND_SQL.format(newest=NEWEST, before=BEFORE))
        words = _read_words(connection)
        rows = connection.execute(_DOCUMENTS_SQL).fetchall()
    left: dict[str, tuple[set[tuple[str, ...]], int]] = {
        document_id: ({key for each in found if (key := tuple(each)) in words}, mentions)
        for document_id, found, mentions in rows
        if document_id not in without
    }
    chosen: list[Worth] = []
    covered: set[tuple[str, ...]] = set()

    def score(document_id: str) -> float:
        found, mentions = left[document_id]
        return sum((words[key].worth for key in found - covered), 0.0) / (_EFFORT + mentions)

    while left and len(chosen) < most:
        best = max(left, key=score)
        found, _ = left.pop(best)
        new = sorted(found - covered, key=lambda key: (-words[key].worth, key))
        if not new:
            break
        chosen.append(Worth(best, "; ".join(str(words[key]) for key in new[:3])))
        covered.update(found)
    return chosen


def _read_words(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], _Words]:
    rows = connection.execute(_WORTH_SQL.format(words=_WORDS)).fetchall()
    return {(text, kind): _Words(text, doubt, now, rise, worth) for text, kind, doubt, now, rise, worth in rows}
