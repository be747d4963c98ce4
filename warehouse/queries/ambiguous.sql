-- Words that are linked to several concepts, frequent and evenly divided ones first; without composite mentions.
--
-- $least integer = 2: only words with at least this many mentions of concepts other than their most common one
--
-- Example: e2emern query ambiguous --least 5 --home home
WITH
    linked AS (
        SELECT document_id, start, "end", entity_type, lower(text) AS words, mesh_id
        FROM mentions WHERE mesh_id IS NOT NULL
    ),

    several AS (SELECT words FROM linked GROUP BY words HAVING min(mesh_id) < max(mesh_id)),
    single AS (
        SELECT words, min(mesh_id) AS mesh_id FROM linked SEMI JOIN several USING (words)
        GROUP BY document_id, start, "end", entity_type, words HAVING count(*) = 1
    ),
    counted AS (
        SELECT words, mesh_id, name, count(*) AS mentions
        FROM single JOIN entities USING (mesh_id)
        GROUP BY ALL
    ),
    final AS (
        SELECT words, sum(mentions)::BIGINT AS mentions, (sum(mentions) - max(mentions))::BIGINT AS other,
            count(*) AS concepts,
            list({'mesh_id': mesh_id, 'name': name, 'mentions': mentions} ORDER BY mentions DESC, mesh_id) AS links
        FROM counted GROUP BY words HAVING concepts > 1 AND other >= $least
    )
SELECT * FROM final ORDER BY other DESC, mentions DESC, words
