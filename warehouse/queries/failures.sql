-- Why records could not be used: count, number of sources and an example of each reason, without numbers and quotes.
--
-- Example: e2emern query failures --home home
WITH
    generalised AS (
        SELECT source, document_id, position, reason,
            regexp_replace(regexp_replace(reason, '''[^'']*''|"[^"]*"', '...', 'g'), '[0-9]+', 'N', 'g') AS kind
        FROM failures
    ),

    final AS (
        SELECT kind, count(*) AS records, count(DISTINCT source) AS sources,
            arg_min({'source': source, 'position': position, 'reason': reason}, (source, position)) AS example
        FROM generalised GROUP BY kind
    )
SELECT * FROM final ORDER BY records DESC, kind
