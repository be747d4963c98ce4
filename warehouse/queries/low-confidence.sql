-- Links that the model is least sure of, the weakest first: look here first when you review.
--
-- $concept concept = null: only this concept and all below it
-- $under number = 0.5: only links with a score under this
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
