-- Journals: documents, those with a linked mention, mentions in each, and the share of mentions that are linked.
--
-- $year integer = null: only documents published in this year
--
-- Example: e2emern query coverage --year 2021 --home home
WITH
    document AS (
        SELECT document_id, journal FROM documents
        WHERE $year::INTEGER IS NULL OR TRY_CAST(left(published, 4) AS INTEGER) = $year
    ),

    naming AS (
        SELECT document_id, count(*) AS mentions, count(mesh_id) AS linked FROM mentions GROUP BY document_id
    ),
    final AS (
        SELECT journal, count(*) AS documents, count(*) FILTER (linked > 0) AS with_concept,
            round(count(*) FILTER (linked > 0) / count(*), 3) AS covered,
            coalesce(sum(mentions), 0)::BIGINT AS mentions,
            round(coalesce(sum(mentions), 0) / count(*), 2) AS per_document,
            round(sum(linked) / sum(mentions), 3) AS linked_share
        FROM document LEFT JOIN naming USING (document_id)
        GROUP BY journal
    )
SELECT * FROM final ORDER BY documents DESC, journal NULLS LAST
