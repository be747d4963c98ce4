-- The mentioned concepts with their ids in other databases, the most frequent first: OMIM, DOID, and ids that MeSH has
-- replaced, as far as the vocabulary has them.
--
-- $under concept = null: only this concept and all below it in the MeSH trees
-- $database text = null: only ids of this database, such as OMIM
-- $id text = null: only the concept with this id, such as OMIM:114480
--
-- Example: e2emern query crosswalk --under Neoplasms --database OMIM --home home
WITH
    below AS (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $under::VARCHAR),

    final AS (
        SELECT mesh_id, name, entity_type, database, identifier, mentions
        FROM concepts JOIN xrefs USING (mesh_id) JOIN (SELECT mesh_id, name, entity_type FROM entities) USING (mesh_id)
        WHERE ($under::VARCHAR IS NULL OR mesh_id IN (SELECT mesh_id FROM below))
            AND ($database::VARCHAR IS NULL OR lower(database) = lower($database))
            AND ($id::VARCHAR IS NULL OR lower(identifier) = lower($id))
    )
SELECT * FROM final ORDER BY mentions DESC, mesh_id, database, identifier
