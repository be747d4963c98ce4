"""Decide which version of a document is shown: PubMed's rules, as an order of sources and one SQL statement.

A PMID and a version identify a citation. The most recent version of a PMID is shown, and one version can be deleted
alone (NLM Technical Bulletin 2012;384:e6, "Versioning in PubMed"). For each version, a later file supersedes an earlier
one. A deletion withdraws earlier records of its version, or of all versions if it names none. A new yearly baseline
holds every valid version, so a record of a later year takes precedence over any version of an earlier year.

Files with NLM's names (pubmed26n0001) rank by name. They outrank all others, which rank by the run that first processed
them. A file that is issued again replaces its earlier content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from e2emern.warehouse.layout import SourceKey, natural

_PUBMED = r"(?:.*/)?pubmed(\d\d)n(\d+)\b"
_PUBMED_NAME = re.compile(_PUBMED)

# Reads the tables `record` (source, digest, record, document_id, pmid, version), `deletion` (source, digest, record,
# pmid, version) and `sources`; only documents that are repeated or deleted are sorted.
SUPERSEDED_SQL = rf"""
WITH dated AS (
    SELECT source, digest, rank, coalesce(try_cast(regexp_extract(source, '^{_PUBMED}', 1) AS INTEGER), -1) AS year
    FROM sources WHERE current
),
ranked AS (
    SELECT r.source, r.digest, r.record, r.document_id, r.pmid, r.version, s.rank, s.year
    FROM record AS r JOIN dated AS s USING (source, digest)
),
repeated AS (
    SELECT document_id FROM ranked GROUP BY document_id HAVING count(*) > 1
),
tombstone AS (
    SELECT d.pmid, d.version, max((s.rank, d.record)) AS moment,
        arg_max({{'source': d.source, 'digest': d.digest}}, (s.rank, d.record)) AS origin
    FROM deletion AS d JOIN dated AS s USING (source, digest)
    GROUP BY d.pmid, d.version
),
touched AS (
    SELECT * FROM ranked
    WHERE document_id IN (FROM repeated) OR pmid IN (SELECT pmid FROM tombstone)
),
rewritten AS (
    SELECT touched.*, row_number() OVER newest AS place,
        first_value(source) OVER newest AS by_source, first_value(digest) OVER newest AS by_digest
    FROM touched
    WINDOW newest AS (PARTITION BY document_id, version ORDER BY rank DESC, record DESC)
    QUALIFY place > 1
),
newest AS (
    SELECT * FROM touched ANTI JOIN rewritten USING (source, digest, record)
),
withdrawn AS (
    SELECT newest.source, newest.digest, record, arg_max(origin, moment) AS deleted_by
    FROM newest JOIN tombstone ON newest.pmid = tombstone.pmid AND moment > (rank, record)
        AND (tombstone.version IS NULL OR tombstone.version = newest.version)
    GROUP BY ALL
),
placed AS (
    SELECT newest.*, deleted_by, row_number() OVER best AS place,
        first_value((year, version)) OVER best AS best_version,
        first_value({{'source': source, 'digest': digest}}) OVER best AS best
    FROM newest LEFT JOIN withdrawn USING (source, digest, record)
    WINDOW best AS (
        PARTITION BY document_id
        ORDER BY deleted_by IS NOT NULL, year DESC, version DESC, rank DESC, record DESC
    )
),
deleted AS (  -- what would be shown if it were not for the deletion
    SELECT placed.*, deleted_by.source AS by_source, deleted_by.digest AS by_digest
    FROM placed WHERE deleted_by IS NOT NULL AND (place = 1 OR (year, version) > best_version)
),
outdated AS (
    SELECT placed.*, best.source AS by_source, best.digest AS by_digest
    FROM placed ANTI JOIN deleted USING (source, digest, record) WHERE place > 1
),
reissued AS (
    SELECT r.source, r.digest, r.record, r.document_id, r.source AS by_source, now.digest AS by_digest
    FROM record AS r
    JOIN sources AS old ON old.source = r.source AND old.digest = r.digest AND NOT old.current
    JOIN sources AS now ON now.source = r.source AND now.current
),
final AS (
    SELECT source, digest, record, document_id, by_source, by_digest, 'revised' AS reason FROM rewritten
    UNION ALL
    SELECT source, digest, record, document_id, by_source, by_digest, 'revised' FROM outdated
    UNION ALL
    SELECT source, digest, record, document_id, by_source, by_digest, 'deleted' FROM deleted
    UNION ALL
    SELECT source, digest, record, document_id, by_source, by_digest, 'reissued' FROM reissued
)
SELECT * FROM final ORDER BY source, digest, record
"""


def precedence(
    keys: Iterable[SourceKey], seen: Callable[[SourceKey], tuple[str, str] | None]
) -> tuple[list[SourceKey], list[SourceKey]]:
    """Return the current sources, lowest rank first, and those that were issued again since.

    `seen` returns the first and last run of a source (`History.seen`). For each name, the digest that a run recorded
    last is current. A source that no run recorded counts as oldest.
    """
    newest: dict[str, SourceKey] = {}
    runs = {key: seen(key) or ("", "") for key in keys}
    ordered = sorted(runs, key=lambda key: (runs[key][1], key.digest))
    for key in ordered:
        newest[key.name] = key

    def rank(key: SourceKey) -> tuple[object, ...]:
        if pubmed := _PUBMED_NAME.match(key.name):
            return 1, int(pubmed[1]), int(pubmed[2]), key.name
        return 0, runs[key][0], *natural(key.name)

    return sorted(newest.values(), key=rank), [key for key in ordered if newest[key.name] is not key]
