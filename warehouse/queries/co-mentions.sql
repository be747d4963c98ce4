-- Pairs of a disease and a chemical in one document: how often, how often in one sentence, and lift over chance.
--
-- Lift is observed over expected documents, n(both) * n(all) / (n(disease) * n(chemical)); `pmi` is its logarithm to
-- base 2 (Church and Hanks 1990).
--
-- $disease concept = null: only this disease and all below it
-- $chemical concept = null: only this chemical and all below it
-- $least integer = 1: only pairs in at least this many documents
-- $min_score number = null: only links with at least this score
--
-- Example: e2emern query co-mentions --disease Neoplasms --chemical Aspirin --home home
WITH
    linked AS (
        SELECT document_id, sentence, mesh_id, entity_type FROM mentions
        WHERE mesh_id IS NOT NULL AND ($min_score::FLOAT IS NULL OR link_score >= $min_score::FLOAT)
    ),
    total AS (SELECT count(*) AS documents FROM documents),

    disease AS (
        SELECT DISTINCT document_id, sentence, mesh_id FROM linked
        WHERE entity_type = 'Disease' AND ($disease::VARCHAR IS NULL
            OR mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $disease))
    ),
    chemical AS (
        SELECT DISTINCT document_id, sentence, mesh_id FROM linked
        WHERE entity_type = 'Chemical' AND ($chemical::VARCHAR IS NULL
            OR mesh_id IN (SELECT mesh_id FROM entity_tree WHERE ancestor_id = $chemical))
    ),
    disease_documents AS (SELECT mesh_id, count(DISTINCT document_id) AS documents FROM disease GROUP BY mesh_id),
    chemical_documents AS (SELECT mesh_id, count(DISTINCT document_id) AS documents FROM chemical GROUP BY mesh_id),
    pair AS (
        SELECT disease.mesh_id AS disease_id, chemical.mesh_id AS chemical_id,
            count(DISTINCT document_id) AS documents,
            count(*) FILTER (disease.sentence = chemical.sentence) AS sentences
        FROM disease JOIN chemical USING (document_id)
        GROUP BY ALL HAVING documents >= $least
    ),
    final AS (
        SELECT disease_id, d.name AS disease, chemical_id, c.name AS chemical, pair.documents, sentences,
            round(pair.documents * total.documents / (dd.documents * cd.documents), 3) AS lift,
            round(log2(pair.documents * total.documents / (dd.documents * cd.documents)), 3) AS pmi
        FROM pair
        JOIN disease_documents AS dd ON dd.mesh_id = disease_id
        JOIN chemical_documents AS cd ON cd.mesh_id = chemical_id
        JOIN entities AS d ON d.mesh_id = disease_id
        JOIN entities AS c ON c.mesh_id = chemical_id
        CROSS JOIN total
    )
SELECT * FROM final ORDER BY documents DESC, sentences DESC, lift DESC, disease_id, chemical_id
