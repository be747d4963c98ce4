-- The concepts in most documents of the concept. Lift: n(shared) * n(all documents) / (n(concept) * n(other)).
WITH
    own AS (SELECT DISTINCT document_id FROM mine),
    together AS (
        SELECT mesh_id, count(DISTINCT document_id) AS shared FROM mentions SEMI JOIN own USING (document_id)
        WHERE mesh_id IS NOT NULL
            AND mesh_id NOT IN (
                SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept AND ($below OR mesh_id = $concept)
            )
        GROUP BY mesh_id ORDER BY shared DESC, mesh_id LIMIT 25
    ),
    other AS (
        SELECT mesh_id, count(DISTINCT document_id) AS documents FROM mentions SEMI JOIN together USING (mesh_id)
        GROUP BY mesh_id
    ),
    final AS (
        SELECT mesh_id, name, entity_type, shared AS documents,
            round(shared * (SELECT documents FROM snapshot) / ((SELECT count(*) FROM own) * other.documents), 2) AS lift
        FROM together JOIN other USING (mesh_id) JOIN entities USING (mesh_id)
    )
SELECT * FROM final ORDER BY documents DESC, lift DESC, mesh_id
