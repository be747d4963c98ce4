-- The concepts directly below one in the MeSH trees, each counted with all concepts below it.
--
-- $concept concept: the concept to look below
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query narrower --concept Neoplasms --home home
WITH
    linked AS (
        SELECT document_id, start, "end", mesh_id FROM mentions
        WHERE mesh_id IS NOT NULL AND ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
    ),
    placed AS (SELECT mesh_id, name, unnest(tree_numbers) AS tree_number FROM entities),

    children AS (
        SELECT DISTINCT child.mesh_id, child.name
        FROM placed AS child
        JOIN placed AS parent ON regexp_replace(child.tree_number, '\.[^.]*$', '') = parent.tree_number
        WHERE parent.mesh_id = $concept AND child.mesh_id <> $concept
    ),
    counted AS (
        SELECT ancestor_id AS mesh_id, count(DISTINCT (document_id, start, "end")) AS mentions,
            count(DISTINCT document_id) AS documents, count(DISTINCT linked.mesh_id) AS concepts
        FROM linked JOIN entity_tree USING (mesh_id)
        WHERE ancestor_id IN (SELECT mesh_id FROM children)
        GROUP BY ancestor_id
    ),
    final AS (
        SELECT mesh_id, name, coalesce(mentions, 0) AS mentions, coalesce(documents, 0) AS documents,
            coalesce(concepts, 0) AS concepts
        FROM children LEFT JOIN counted USING (mesh_id)
    )
SELECT * FROM final ORDER BY documents DESC, mentions DESC, mesh_id
