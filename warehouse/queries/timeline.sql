-- A concept and all below it, year by year: documents that mention it, its mentions, and its share of all documents.
--
-- $concept concept: the concept to follow
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query timeline --concept D001241 --home home
WITH
    published AS (SELECT document_id, TRY_CAST(left(published, 4) AS INTEGER) AS year FROM documents),
    below AS (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept),

    naming AS (
        SELECT document_id, count(DISTINCT (start, "end")) AS mentions FROM mentions SEMI JOIN below USING (mesh_id)
        WHERE ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
        GROUP BY document_id
    ),
    final AS (
        SELECT year, count(naming.document_id) AS documents, coalesce(sum(mentions), 0)::BIGINT AS mentions,
            round(1000 * count(naming.document_id) / count(*), 3) AS per_thousand
        FROM published LEFT JOIN naming USING (document_id)
        GROUP BY year HAVING documents > 0
    )
SELECT * FROM final ORDER BY year NULLS LAST
