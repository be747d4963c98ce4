-- The documents that mention both of two concepts, or ones below them, and the sentences in which they occur together.
--
-- $disease concept: one concept
-- $chemical concept: the other
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query co-mentioned-in --disease Neoplasms --chemical Aspirin --home home
WITH
    disease AS (
        SELECT document_id, sentence, text FROM mentions
        WHERE mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $disease)
            AND ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
    ),
    chemical AS (
        SELECT document_id, sentence, text FROM mentions
        WHERE mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $chemical)
            AND ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
    ),

    together AS (
        SELECT document_id, list(DISTINCT disease.text ORDER BY disease.text) AS disease_words,
            list(DISTINCT chemical.text ORDER BY chemical.text) AS chemical_words,
            coalesce(list(DISTINCT disease.sentence ORDER BY disease.sentence)
                FILTER (disease.sentence = chemical.sentence), []) AS sentences
        FROM disease JOIN chemical USING (document_id)
        GROUP BY document_id
    ),
    final AS (
        SELECT document_id, pmid, title, published, disease_words, chemical_words, sentences
        FROM together JOIN documents USING (document_id)
    )
SELECT * FROM final ORDER BY len(sentences) DESC, published DESC NULLS LAST, document_id
