-- The documents that mention a concept or one below it, those with the most mentions first.
--
-- $concept concept: the concept to look for
-- $year integer = null: only documents published in this year
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query documents-of --concept Aspirin --year 2021 --home home
WITH
    below AS (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $concept),

    naming AS (
        SELECT document_id, count(DISTINCT (start, "end")) AS mentions, list(DISTINCT text ORDER BY text) AS words
        FROM mentions SEMI JOIN below USING (mesh_id)
        WHERE ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
        GROUP BY document_id
    ),
    final AS (
        SELECT document_id, pmid, title, journal, published, mentions, words
        FROM naming JOIN documents USING (document_id)
        WHERE $year::INTEGER IS NULL OR TRY_CAST(left(published, 4) AS INTEGER) = $year
    )
SELECT * FROM final ORDER BY mentions DESC, published DESC NULLS LAST, document_id
