-- The same words linked to several concepts, the most evenly divided of the frequent ones first.
--
-- $least integer = 2: only words with at least so many mentions of other than their commonest concept
--
-- Example: e2emern query ambiguous --least 5 --home home
WITH
    linked AS (SELECT lower(text) AS words, mesh_id FROM mentions WHERE mesh_id IS NOT NULL),

    counted AS (
        SELECT words, mesh_id, name, count(*) AS mentions
        FROM linked JOIN entities USING (mesh_id)
        GROUP BY ALL
    ),
    final AS (
        SELECT words, sum(mentions)::BIGINT AS mentions, (sum(mentions) - max(mentions))::BIGINT AS other,
            count(*) AS concepts,
            list({'mesh_id': mesh_id, 'name': name, 'mentions': mentions} ORDER BY mentions DESC, mesh_id) AS links
        FROM counted GROUP BY words HAVING concepts > 1 AND other >= $least
    )
SELECT * FROM final ORDER BY other DESC, mentions DESC, words
