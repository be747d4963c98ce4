-- Documents in the sources of each night (the date, in UTC, on which a run first processed them), and their running total.
WITH
    brought AS (
        SELECT CAST(started AS DATE) AS night, sum(sources.documents)::BIGINT AS documents,
            sum(sources.mentions)::BIGINT AS mentions, count(*) AS sources
        FROM sources JOIN runs ON run_id = first_run WHERE current GROUP BY night
    ),
    final AS (
        SELECT night, sources, documents, mentions, sum(documents) OVER (ORDER BY night)::BIGINT AS documents_so_far
        FROM brought
    )
SELECT * FROM final ORDER BY night
