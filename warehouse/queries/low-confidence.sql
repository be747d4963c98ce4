-- The links that the model is least certain of, the weakest first: start a review here.
--
-- $concept concept = null: only this concept and all below it
-- $under number = 0.5: only links with a score below this
--
-- Example: e2emern query low-confidence --concept Neoplasms --under 0.4 --home home
WITH
    final AS (
        SELECT document_id, start, "end", text, mesh_id, name, how, ner_score, mid_score, high_score, link_score
        FROM mentions JOIN entities USING (mesh_id)
        WHERE link_score < $under AND ($concept::VARCHAR IS NULL
            OR mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept))
    )
SELECT * FROM final ORDER BY link_score, document_id, start, "end", mesh_id
