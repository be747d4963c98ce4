-- The most frequent concepts.
SELECT concepts.mesh_id, name, entity_type, mentions FROM concepts JOIN entities USING (mesh_id)
ORDER BY mentions DESC, concepts.mesh_id LIMIT 25
