-- The newest documents that mention the concept.
WITH
    named AS (SELECT document_id, count(DISTINCT (start, "end")) AS mentions FROM mine GROUP BY ALL),

    final AS (
        SELECT document_id, pmid, title, journal, published, mentions FROM documents JOIN named USING (document_id)
    )
SELECT * FROM final ORDER BY published DESC NULLS LAST, pmid DESC NULLS LAST, document_id LIMIT 10
