-- The concepts directly below the concept, each with the mentions of all concepts below it.
WITH
    numbered AS (SELECT unnest(tree_numbers) AS number, mesh_id, name FROM entities),
    own AS (SELECT number FROM numbered WHERE mesh_id = $concept),
    child AS (
        SELECT DISTINCT numbered.mesh_id, numbered.name FROM numbered
        JOIN own ON starts_with(numbered.number, own.number || '.')
            AND NOT contains(substr(numbered.number, length(own.number) + 2), '.')
    ),
    final AS (
        SELECT child.mesh_id, child.name, coalesce(sum(concepts.mentions), 0)::BIGINT AS mentions
        FROM child
        JOIN entity_tree ON entity_tree.ancestor_id = child.mesh_id
        LEFT JOIN concepts ON concepts.mesh_id = entity_tree.mesh_id
        GROUP BY ALL
    )
SELECT * FROM final ORDER BY mentions DESC, name, mesh_id
