-- When a concept and each concept below it first appear: by date of publication, and by the first run that read a
-- current source with it.
--
-- $concept concept: the concept to look for
--
-- Example: e2emern query first-appearance --concept Neoplasms --home home
WITH
    below AS (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept),

    naming AS (
        SELECT DISTINCT mesh_id, document_id, source, digest FROM mentions SEMI JOIN below USING (mesh_id)
    ),
    dated AS (
        SELECT naming.*, published, first_run
        FROM naming
        JOIN (SELECT document_id, published FROM documents) USING (document_id)
        JOIN (SELECT source, digest, first_run FROM sources) USING (source, digest)
    ),
    firsts AS (
        SELECT mesh_id, count(*) AS documents, min(published) AS published,
            arg_min(document_id, (published, document_id)) FILTER (published IS NOT NULL) AS document_id,
            min(first_run) AS first_run
        FROM dated GROUP BY mesh_id
    ),
    final AS (
        SELECT mesh_id, name, published, document_id, first_run, started AS taken_in, firsts.documents
        FROM firsts JOIN entities USING (mesh_id) LEFT JOIN runs ON run_id = first_run
    )
SELECT * FROM final ORDER BY published NULLS LAST, mesh_id
