-- The mentions of the document.
SELECT start, "end", text, entity_type, sentence, mesh_id, mesh_name, ner_score, mid_score, high_score, link_score,
    how, model_version, mesh_version
FROM mentions WHERE document_id = $document
ORDER BY start, "end", entity_type, link_score DESC NULLS LAST, mesh_id
