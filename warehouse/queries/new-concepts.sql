-- Concepts that are mentioned now but were not in an earlier snapshot.
--
-- $since snapshot = previous: number of the earlier snapshot
--
-- Example: e2emern query new-concepts --since 1 --home home
WITH
    before AS (SELECT DISTINCT mesh_id FROM earlier.mentions WHERE mesh_id IS NOT NULL),
    now AS (SELECT document_id, mesh_id, text FROM mentions WHERE mesh_id IS NOT NULL),

    gained AS (
        SELECT mesh_id, count(*) AS mentions, count(DISTINCT document_id) AS documents,
            list(DISTINCT text ORDER BY text)[:5] AS words, min(document_id) AS example
        FROM now ANTI JOIN before USING (mesh_id)
        GROUP BY mesh_id
    ),
    final AS (
        SELECT mesh_id, name, entity_type, mentions, documents, words, example
        FROM gained JOIN entities USING (mesh_id)
    )
SELECT * FROM final ORDER BY mentions DESC, mesh_id
