-- Mentions of each type, and the share without a concept.
SELECT entity_type, count(*) AS mentions, round(count(*) FILTER (mesh_id IS NULL) / count(*), 4) AS unlinked
FROM mentions GROUP BY entity_type ORDER BY entity_type
