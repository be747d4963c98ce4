-- Words recognised but not linked, the most frequent first: gaps of the vocabulary or the model.
--
-- $type type = null: only this entity type, Disease or Chemical
--
-- Example: e2emern query unlinked --type Chemical --home home
WITH
    unlinked AS (
        SELECT document_id, lower(text) AS words, entity_type, ner_score FROM mentions
        WHERE mesh_id IS NULL AND ($type::VARCHAR IS NULL OR entity_type = $type)
    ),

    final AS (
        SELECT words, entity_type, count(*) AS mentions, count(DISTINCT document_id) AS documents,
            round(avg(ner_score), 3) AS ner_score, min(document_id) AS example
        FROM unlinked GROUP BY words, entity_type
    )
SELECT * FROM final ORDER BY mentions DESC, words, entity_type
