-- Concepts by number of mentions, the most frequent first.
--
-- $under concept = null: only this concept and all below it in the MeSH trees
-- $type type = null: only this entity type, Disease or Chemical
-- $year integer = null: only documents published in this year
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query top-concepts --under Neoplasms --year 2021 --home home
WITH
    linked AS (
        SELECT document_id, mesh_id, entity_type FROM mentions
        WHERE mesh_id IS NOT NULL AND ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
    ),
    published AS (SELECT document_id, TRY_CAST(left(published, 4) AS INTEGER) AS year FROM documents),
    below AS (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $under::VARCHAR),

    counted AS (
        SELECT mesh_id, count(*) AS mentions, count(DISTINCT document_id) AS documents
        FROM linked
        WHERE ($under::VARCHAR IS NULL OR mesh_id IN (SELECT mesh_id FROM below))
            AND ($type::VARCHAR IS NULL OR entity_type = $type)
            AND ($year::INTEGER IS NULL OR document_id IN (SELECT document_id FROM published WHERE year = $year))
        GROUP BY mesh_id
    ),
    final AS (
        SELECT mesh_id, name, entity_type, mentions, documents FROM counted JOIN entities USING (mesh_id)
    )
SELECT * FROM final ORDER BY mentions DESC, documents DESC, mesh_id
