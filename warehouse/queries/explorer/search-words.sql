-- Mentions with these words, the most frequent first, with the concepts that they are linked to.
SELECT lower(text) AS words, entity_type, mesh_id, mesh_name, count(*) AS mentions
FROM mentions WHERE contains(lower(text), lower($text))
GROUP BY ALL
ORDER BY mentions DESC, words, mesh_id
LIMIT 20
