-- The records of each source: read, shown, superseded and failed, and when the source was first read.
--
-- $name text = null: only sources whose name contains this
--
-- Example: e2emern query sources --name pubmed26 --home home
WITH
    hidden AS (SELECT source, digest, count(*) AS superseded FROM superseded GROUP BY ALL),

    final AS (
        SELECT source, digest, current, status, parsed, documents, coalesce(superseded, 0) AS superseded,
            deleted, failed, invalid_annotations, sources.mentions, first_run, started AS taken_in
        FROM sources LEFT JOIN hidden USING (source, digest)
        LEFT JOIN (SELECT run_id, started FROM runs) ON run_id = first_run
        WHERE $name::VARCHAR IS NULL OR contains(source, $name)
    )
SELECT * FROM final ORDER BY current DESC, source, digest
