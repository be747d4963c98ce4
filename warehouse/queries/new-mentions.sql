-- Concepts whose documents have changed since an earlier snapshot: documents gained and lost by each.
--
-- $since snapshot = previous: number of the earlier snapshot
-- $under concept = null: only this concept and all below it in the MeSH trees
--
-- Example: e2emern query new-mentions --since 1 --under Neoplasms --home home
WITH
    before AS (SELECT DISTINCT document_id, mesh_id FROM earlier.mentions WHERE mesh_id IS NOT NULL),
    now AS (SELECT DISTINCT document_id, mesh_id FROM mentions WHERE mesh_id IS NOT NULL),

    changed AS (
        SELECT mesh_id, 1 AS gained, 0 AS lost, document_id FROM now ANTI JOIN before USING (document_id, mesh_id)
        UNION ALL
        SELECT mesh_id, 0, 1, NULL FROM before ANTI JOIN now USING (document_id, mesh_id)
    ),
    final AS (
        SELECT mesh_id, any_value(name) AS name, sum(gained)::BIGINT AS gained, sum(lost)::BIGINT AS lost,
            coalesce(list(document_id ORDER BY document_id) FILTER (document_id IS NOT NULL), [])[:5] AS examples
        FROM changed LEFT JOIN entities USING (mesh_id)
        WHERE $under::VARCHAR IS NULL OR mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $under)
        GROUP BY mesh_id
    )
SELECT * FROM final ORDER BY gained DESC, lost DESC, mesh_id
