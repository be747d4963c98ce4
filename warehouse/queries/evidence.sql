-- What decided the links: mentions, documents and mean scores for each kind of evidence, unlinked mentions last.
--
-- Example: e2emern query evidence --home home
WITH
    final AS (
        SELECT entity_type, how, mesh_id IS NOT NULL AS linked, count(*) AS mentions,
            count(DISTINCT document_id) AS documents, round(count(*) / sum(count(*)) OVER (), 4) AS share,
            round(avg(ner_score), 3) AS ner_score, round(avg(link_score), 3) AS link_score
        FROM mentions GROUP BY ALL
    )
SELECT * FROM final ORDER BY linked DESC, mentions DESC, entity_type, how
