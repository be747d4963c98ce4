-- The mentions of the concept, on request including those of the concepts below it.
SELECT source, digest, record, document_id, sentence, start, "end", text, mesh_id, link_score
FROM mentions
SEMI JOIN (
    SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept AND ($below OR mesh_id = $concept)
) USING (mesh_id)
