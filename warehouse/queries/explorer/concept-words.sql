-- The words that name the concept in the documents, the most frequent first.
WITH
    final AS (
        SELECT lower(text) AS words, count(*) AS mentions, count(DISTINCT document_id) AS documents,
            round(avg(link_score), 3) AS link_score
        FROM mine GROUP BY words
    )
SELECT * FROM final ORDER BY mentions DESC, words
