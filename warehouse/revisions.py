"""Which version of a document is shown: PubMed's rules, as an order of sources and one SQL statement.

A later PubMed file supersedes an earlier one for the same PMID, and a deletion withdraws what stands before
it (NLM, "Downloading PubMed data"). Files named as NLM names them (pubmed26n0001) rank by name; they outrank
all others, which rank by the run that first took them in. A file issued again replaces its former self.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from warehouse.layout import SourceKey
from warehouse.runs import RunRecord

_PUBMED_NAME = re.compile(r"(?:.*/)?pubmed(\d\d)n(\d+)\b")

# Reads the tables `record` (source, digest, record, document_id, pmid, version), `deletion` (source, digest,
# record, pmid) and `sources`; only documents that stand more than once are sorted.
SUPERSEDED_SQL = """
WITH ranked AS (
    SELECT r.source, r.digest, r.record, r.document_id, r.pmid, r.version, s.rank
    FROM record AS r JOIN sources AS s ON s.source = r.source AND s.digest = r.digest AND s.current
),
repeated AS (
    SELECT document_id FROM ranked GROUP BY document_id HAVING count(*) > 1
),
revised AS (
    SELECT ranked.*, row_number() OVER newest AS place,
        first_value(source) OVER newest AS by_source, first_value(digest) OVER newest AS by_digest
    FROM ranked SEMI JOIN repeated USING (document_id)
    WINDOW newest AS (PARTITION BY document_id ORDER BY rank DESC, version DESC, record DESC)
    QUALIFY place > 1
),
tombstone AS (
    SELECT d.pmid, max((s.rank, d.record)) AS moment, arg_max({'source': d.source, 'digest': d.digest},
        (s.rank, d.record)) AS origin
    FROM deletion AS d JOIN sources AS s ON s.source = d.source AND s.digest = d.digest AND s.current
    GROUP BY d.pmid
),
deleted AS (
    SELECT ranked.*, origin.source AS by_source, origin.digest AS by_digest
    FROM ranked JOIN tombstone ON ranked.pmid = tombstone.pmid AND moment > (rank, record)
    ANTI JOIN revised ON revised.source = ranked.source AND revised.digest = ranked.digest
        AND revised.record = ranked.record
),
reissued AS (
    SELECT r.source, r.digest, r.record, r.document_id, r.source AS by_source, now.digest AS by_digest
    FROM record AS r
    JOIN sources AS old ON old.source = r.source AND old.digest = r.digest AND NOT old.current
    JOIN sources AS now ON now.source = r.source AND now.current
),
final AS (
    SELECT source, digest, record, document_id, by_source, by_digest, 'revised' AS reason FROM revised
    UNION ALL
    SELECT source, digest, record, document_id, by_source, by_digest, 'deleted' FROM deleted
    UNION ALL
    SELECT source, digest, record, document_id, by_source, by_digest, 'reissued' FROM reissued
)
SELECT * FROM final ORDER BY source, digest, record
"""


def sightings(runs: Sequence[RunRecord]) -> dict[SourceKey, tuple[str, str]]:
    """Returns the first and the last run that met each source. `runs` are in order of time."""
    found: dict[SourceKey, tuple[str, str]] = {}
    for run in runs:
        for source in run.sources:
            first, _ = found.get(source.key, (run.run_id, ""))
            found[source.key] = (first, run.run_id)
    return found


def precedence(
    keys: Iterable[SourceKey], sightings: dict[SourceKey, tuple[str, str]]
) -> tuple[list[SourceKey], list[SourceKey]]:
    """Returns the current sources, lowest rank first, and those that were issued again since.

    Of one name, the digest that a run met last is current; one that no run has recorded counts as oldest.
    """
    newest: dict[str, SourceKey] = {}
    unseen = ("", "")
    ordered = sorted(keys, key=lambda key: (sightings.get(key, unseen)[1], key.digest))
    for key in ordered:
        newest[key.name] = key

    def rank(key: SourceKey) -> tuple[object, ...]:
        if pubmed := _PUBMED_NAME.match(key.name):
            return 1, int(pubmed[1]), int(pubmed[2]), key.name
        return 0, sightings.get(key, unseen)[0], _natural(key.name)

    return sorted(newest.values(), key=rank), [key for key in ordered if newest[key.name] != key]


def _natural(name: str) -> list[tuple[str, int]]:
    """Sorts part2 before part10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]
