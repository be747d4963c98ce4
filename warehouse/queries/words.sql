-- The words that name a concept in the documents, the most frequent first.
--
-- $concept concept: the concept, without those below it
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query words --concept "Breast Neoplasms" --home home
WITH
    named AS (
        SELECT document_id, text, link_score FROM mentions
        WHERE mesh_id = $concept AND ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
    ),

    final AS (
        SELECT lower(text) AS words, count(*) AS mentions, count(DISTINCT document_id) AS documents,
            count(DISTINCT text) AS spellings, round(avg(link_score), 3) AS link_score
        FROM named GROUP BY words
    )
SELECT * FROM final ORDER BY mentions DESC, words
