-- Mentions and documents of the concept by year of publication.
WITH
    named AS (SELECT document_id, count(DISTINCT (start, "end")) AS mentions FROM mine GROUP BY document_id),

    final AS (
        SELECT TRY_CAST(left(published, 4) AS INTEGER) AS year, sum(mentions)::BIGINT AS mentions,
            count(*) AS documents
        FROM documents JOIN named USING (document_id) GROUP BY year
    )
SELECT * FROM final ORDER BY year NULLS LAST
