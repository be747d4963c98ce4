-- The concepts above the concept, from the top of each of its branches down to it.
WITH
    numbered AS (SELECT unnest(tree_numbers) AS number, mesh_id, name FROM entities),
    own AS (SELECT number AS branch FROM numbered WHERE mesh_id = $concept),

    final AS (
        SELECT branch, number, mesh_id, name FROM own
        JOIN numbered ON branch = number OR starts_with(branch, number || '.')
    )
SELECT * FROM final ORDER BY branch, length(number)
